use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A number of JSON. Integers and floats are compared by their exact values: 2^53 + 1 is not 2^53, and 1.0 is 1.
///
/// Every value has one form: what is integral and not too large is an `Integer`, so that a `Float` never equals one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    /// Finite.
    Float(f64),
}

/// 2^100: floats from here on stay floats. All are integral, and far beyond the integers of JSON, which have 64 bits.
const LARGE: f64 = (1_u128 << 100) as f64;

impl Number {
    /// `float` is finite, as all of JSON's are.
    pub fn of_float(float: f64) -> Self {
        if float.fract() == 0.0 && float.abs() < LARGE { Self::Integer(float as i128) } else { Self::Float(float) }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Self::Integer(integer.into()),
            (None, Some(integer)) => Self::Integer(integer.into()),
            // JSON has no number that is not finite.
            (None, None) => Self::of_float(number.as_f64().unwrap_or_default()),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(this), Self::Integer(other)) => this.cmp(other),
            (Self::Float(this), Self::Float(other)) => this.total_cmp(other),
            (Self::Integer(integer), Self::Float(float)) => order(*integer, *float),
            (Self::Float(float), Self::Integer(integer)) => order(*integer, *float).reverse(),
        }
    }
}

/// `float` is not an integer of less than 2^100, so the two are never equal.
fn order(integer: i128, float: f64) -> Ordering {
    let is_less = if float.abs() < LARGE { integer <= float.floor() as i128 } else { float > 0.0 };
    if is_less { Ordering::Less } else { Ordering::Greater }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Integer(integer) => integer.hash(state),
            Self::Float(float) => float.to_bits().hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(json: &str) -> Number {
        Number::from(&serde_json::from_str::<serde_json::Number>(json).unwrap())
    }

    #[test]
    fn numbers_are_compared_by_their_exact_values() {
        let ascending = [
            "-1e300",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "5e-324",
            "0.5",
            "1",
            "9007199254740991",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994.0",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616.0",
            "1e30",
            "1e31",
            "1e300",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(number(left).cmp(&number(right)), at.cmp(&other), "{left} {right}");
            }
        }
        for (left, right) in [("1", "1.0"), ("-0.0", "0"), ("100", "1e2"), ("9007199254740992", "9007199254740992.0")] {
            assert_eq!(number(left), number(right), "{left} {right}");
        }
    }
}
