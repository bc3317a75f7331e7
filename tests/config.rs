//! The settings in force, and what is said of wrong ones.

use std::path::Path;
use std::process::Output;

use crate::support::retro_in;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// In a folder without a model: nothing is loaded.
fn printed(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let all: Vec<&str> = ["serve", "--print-config"].into_iter().chain(arguments.iter().copied()).collect();
    let output = retro_in(folder, &all, variables);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    text(&output.stdout)
}

fn values(printed: &str) -> toml::Table {
    printed.parse().unwrap()
}

#[test]
fn each_setting_is_printed_with_its_layer() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("retro.toml"), "# mine\nmax_queue = 5\nthreads = 1\nslots = 2\n").unwrap();
    let printed = printed(folder.path(), &["--slots=4"], &[("RETRO_THREADS", "3"), ("RETRO_SLOTS", "3")]);
    for line in [
        "# Settings file: retro.toml",
        "max_queue = 5  # file retro.toml, line 2",
        "threads = 3  # variable RETRO_THREADS",
        "slots = 4  # flag --slots",
        "max_documents = 1000  # default",
        "# database_url is not set: sqlite in data_dir",
    ] {
        assert!(printed.lines().any(|found| found == line), "{line}: {printed}");
    }
}

#[test]
fn what_is_printed_gives_the_same_settings_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("retro.toml"), "log_format = \"json\"\nlog_level = \"warn,retro_server=debug\"\n").unwrap();
    let flags = [
        "--listen=[::1]:0",
        "--data-dir=a folder with \"quotes\" and # more",
        "--device=cuda:1",
        "--embedder-precision=int16",
        "--allow-anonymous",
        "--cors-origins=https://a.example,https://b.example",
        "--database-url=sqlite://elsewhere/catalogue.sqlite?mode=rwc",
        "--requests-per-minute=4294967295",
        "--cache-mb=0",
    ];
    let first = printed(folder.path(), &flags, &[("RETRO_MAX_QUEUE", "1048576")]);
    std::fs::write(folder.path().join("saved.toml"), &first).unwrap();
    let second = printed(folder.path(), &["--config=saved.toml"], &[]);
    assert_eq!(values(&first), values(&second));
    let sources = |text: &str, source: &str| text.lines().filter(|line| line.contains(source)).count();
    assert_eq!(sources(&second, "  # file saved.toml, line "), values(&second).len(), "{second}");
    assert_eq!((sources(&first, "  # flag --"), sources(&first, "  # file retro.toml")), (9, 2), "{first}");
    assert_eq!(values(&first)["data_dir"].as_str(), Some("a folder with \"quotes\" and # more"));
}

#[test]
fn a_password_is_neither_printed_nor_lost_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("RETRO_DATABASE_URL", "postgres://me:hidden@host/db")];
    let printed = printed(folder.path(), &[], &variables);
    assert!(printed.contains("postgres://me:***@host/db") && printed.contains("its password is masked"), "{printed}");
    assert!(!printed.contains("hidden"), "{printed}");
    let help = retro_in(folder.path(), &["serve", "--help"], &variables);
    assert!(!text(&help.stdout).contains("hidden"));
    std::fs::write(folder.path().join("retro.toml"), &printed).unwrap();
    let refused = retro_in(folder.path(), &["serve"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("`database_url`: its password is masked"), "{refused:?}");
}

#[test]
fn a_wrong_setting_is_named_with_its_layer_and_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |file: &str, arguments: &[&str], variables: &[(&str, &str)]| -> Output {
        std::fs::write(folder.path().join("retro.toml"), file).unwrap();
        let all: Vec<&str> = ["serve"].into_iter().chain(arguments.iter().copied()).collect();
        retro_in(folder.path(), &all, variables)
    };
    for (file, arguments, variables, expected) in [
        ("threads = 2\n\nmax_queue = 0\n", vec![], vec![], "retro.toml, line 3: `max_queue`: it must be a whole number, 1 to "),
        ("threads = 2\nthreds = 2\n", vec![], vec![], "retro.toml, line 2, has an unknown key `threds`; the keys are listen, "),
        ("threads = 2\nlisten = [\n", vec![], vec![], ", is not TOML: "),
        ("", vec![], vec![("RETRO_MAX_QUEUE", "none")], "RETRO_MAX_QUEUE, which is \"none\": it must be a whole number, 1 to "),
        // The file is right, and does not bear the blame.
        (
            "threads = 2\n",
            vec![],
            vec![("RETRO_LISTEN", "8080")],
            "RETRO_LISTEN, which is \"8080\": it must be an IP address with a port",
        ),
        ("", vec![], vec![("RETRO_LOG_FORMAT", "xml")], "RETRO_LOG_FORMAT, which is \"xml\""),
        ("", vec!["--device=gpu"], vec![], "'--device <DEVICE>': it is `auto`, `cpu`, `cuda`"),
        ("", vec!["--max-queue=0"], vec![("RETRO_MAX_QUEUE", "5")], "'--max-queue <N>': it must be a whole number, 1 to "),
        ("", vec!["--vectors-mb=99999999999999"], vec![], "'--vectors-mb <MB>': it must be a whole number, 0 to 1099511627776"),
        // What would overflow a time, or take all memory or threads when the server starts.
        ("header_seconds = 9223372036854775807\n", vec![], vec![], "`header_seconds`: it must be a whole number, 1 to 315360000"),
        ("body_seconds = 9223372036854775807\n", vec![], vec![], "`body_seconds`: it must be a whole number, 1 to 315360000"),
        ("request_seconds = 315360001\n", vec![], vec![], "`request_seconds`: it must be a whole number, 0 to 315360000"),
        ("shutdown_seconds = 315360001\n", vec![], vec![], "`shutdown_seconds`: it must be a whole number, 0 to 315360000"),
        ("", vec!["--max-queue=1048577"], vec![], "'--max-queue <N>': it must be a whole number, 1 to 1048576"),
        ("", vec!["--max-connections=1048577"], vec![], "'--max-connections <N>': it must be a whole number, 1 to 1048576"),
        ("", vec!["--slots=100000000"], vec![], "'--slots <N>': it must be a whole number, 0 to 4096"),
        ("", vec!["--threads=100000"], vec![], "'--threads <N>': it must be a whole number, 0 to 1024"),
        ("max_body_bytes = 1099511627777\n", vec![], vec![], "`max_body_bytes`: it must be a whole number, 1 to 1099511627776"),
        // What would hang, or end with the process.
        ("lance_uri = \"\"\n", vec![], vec![], "`lance_uri`: it is empty; it must be a folder, or like s3://bucket/prefix"),
        ("", vec![], vec![("RETRO_DATABASE_URL", "sqlite://")], "RETRO_DATABASE_URL, which is \"sqlite://\": it names no file"),
        ("", vec!["--database-url=sqlite://:memory:"], vec![], "'--database-url <URL>': it names no file"),
        ("", vec!["--database-url=sqlite://x.sqlite?mode=memory"], vec![], "'--database-url <URL>': it names no file"),
        ("log_level = \"bogus\"\n", vec![], vec![], "`log_level`: it must be off, error, warn, info, debug, trace, or a tracing"),
    ] {
        let output = refused(file, &arguments, &variables);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    // A variable that a flag stands over is not asked for.
    let output = refused("", &["--print-config", "--max-queue=7"], &[("RETRO_MAX_QUEUE", "none")]);
    assert!(output.status.success() && text(&output.stdout).contains("max_queue = 7  # flag --max-queue"), "{output:?}");
}
