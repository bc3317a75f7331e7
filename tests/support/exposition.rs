use std::collections::BTreeMap;

/// What `GET /metrics` says, read strictly.
pub struct Exposition {
    /// Kind of each metric by its name.
    pub kinds: BTreeMap<String, String>,
    /// By series, as it stands in the text: `name{label="value"}`.
    pub samples: BTreeMap<String, f64>,
}

impl Exposition {
    pub async fn of(url: &str) -> Self {
        let response = reqwest::get(format!("{url}/metrics")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
        Self::parse(&response.text().await.unwrap())
    }

    /// # Panics
    /// The text is not in the format of Prometheus, version 0.0.4: each metric with help, type and then all of its samples, each series once,
    /// histograms cumulative and whole.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut read = Self { kinds: BTreeMap::new(), samples: BTreeMap::new() };
        let (mut helped, mut family) = ("", "");
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                assert!(!help.trim().is_empty(), "{line}");
                helped = name;
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                assert_eq!(name, helped, "{line}");
                assert!(is_name(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(read.kinds.insert(name.to_owned(), kind.to_owned()), None, "{line}: it was there before");
                family = name;
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                labels_of(labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")));
                let belongs = match read.kinds.get(family).map(String::as_str) {
                    Some("histogram") => {
                        name.strip_prefix(family).is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
                    }
                    _ => name == family,
                };
                assert!(belongs, "{line} stands under {family}");
                let value: f64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                assert_eq!(read.samples.insert(series.to_owned(), value), None, "{line}: it was there before");
            }
        }
        read.check_histograms();
        read
    }

    fn check_histograms(&self) {
        // By the series without `le`: counts with their bounds, in the order of the bounds.
        let mut histograms: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
        for (series, &count) in &self.samples {
            let Some((name, labels)) = series.split_once("_bucket{") else { continue };
            let (bounds, others): (Vec<_>, Vec<_>) =
                labels_of(labels.strip_suffix('}').unwrap()).into_iter().partition(|(name, _)| name == "le");
            let bound = bounds.first().unwrap_or_else(|| panic!("{series} has no bound")).1.parse().unwrap();
            let others: Vec<String> = others.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            histograms.entry((name.to_owned(), others.join(","))).or_default().push((bound, count));
        }
        for ((name, labels), mut buckets) in histograms {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, next| one.1 <= next.1), "{name} {labels}: {buckets:?}");
            let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            assert_eq!(
                *buckets.last().unwrap(),
                (f64::INFINITY, self.value(&format!("{name}_count{braces}"))),
                "{name} {labels}"
            );
            self.value(&format!("{name}_sum{braces}"));
        }
    }

    /// # Panics
    /// There is no such series.
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    /// What a series grew by since an earlier reading, in which it may not have been there.
    pub fn since(&self, earlier: &Self, series: &str) -> f64 {
        self.value(series) - earlier.samples.get(series).copied().unwrap_or(0.0)
    }
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The labels between the braces, with their values as they are escaped.
fn labels_of(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap_or_else(|| panic!("no label: {text}"));
        assert!(is_name(name), "{name} is no name of a label");
        let mut escaped = false;
        let end = rest.find(|character| match (escaped, character) {
            (true, _) => {
                assert!(matches!(character, '\\' | '"' | 'n'), "{rest}");
                escaped = false;
                false
            }
            (false, '\\') => {
                escaped = true;
                false
            }
            (false, character) => character == '"',
        });
        let end = end.unwrap_or_else(|| panic!("the value of {name} has no end: {rest}"));
        labels.push((name.to_owned(), rest[..end].to_owned()));
        text = match &rest[end + 1..] {
            "" => "",
            more => more.strip_prefix(',').unwrap_or_else(|| panic!("after {name}: {more}")),
        };
    }
    labels
}
