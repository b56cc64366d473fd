//! Settings from flags, environment and file: which wins, and what is refused.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::*;

/// A folder of its own, with this configuration file if there is to be one.
fn folder(file: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(text) = file {
        std::fs::write(folder.path().join(FILE_NAME), text).expect("written");
    }
    folder
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let all = [("HOME", "/home/ada")].iter().chain(variables);
    Environment::of(all.map(|(name, value)| (name.into(), value.into())))
}

fn load(flags: &Flags, variables: &[(&str, &str)], file: Option<&str>) -> Result<Config, String> {
    let folder = folder(file);
    Config::load(flags, &environment(variables), folder.path()).map_err(|error| error.to_string())
}

fn namespace(flag: Option<&str>, variables: &[(&str, &str)], file: Option<&str>) -> String {
    let flags = Flags {
        namespace: flag.map(str::to_owned),
        ..Flags::default()
    };
    let config = load(&flags, variables, file).expect("loaded");
    config.namespace.to_string()
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let file = Some("namespace = \"from-file\"");
    let variables = [("STEM_NAMESPACE", "from-environment")];
    assert_eq!(namespace(Some("from-flag"), &variables, file), "from-flag");
    assert_eq!(namespace(None, &variables, file), "from-environment");
    assert_eq!(namespace(None, &[], file), "from-file");
    assert_eq!(namespace(None, &[], None), "stem");
}

/// X4: a key that is not read is not to leave modules unsigned.
#[test]
fn a_variable_of_ours_that_is_no_text_is_refused_by_name() {
    for (name, is_ours) in [
        (PRIVATE_KEYS, true),
        ("STEM_NAMESPACE", true),
        ("STEM_OTHER_PEOPLES", false),
    ] {
        let no_text = OsString::from_vec(b"k\xff".to_vec());
        let home = ("HOME".into(), "/home/ada".into());
        let environment = Environment::of([home, (name.into(), no_text)].into_iter());
        let loaded = Config::load(&Flags::default(), &environment, folder(None).path());
        let said = loaded.err().map(|error| error.to_string());
        let refused = format!("read {name}: its value is no UTF-8");
        assert_eq!(said, is_ours.then_some(refused));
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    assert_eq!(namespace(None, &[("STEM_NAMESPACE", "")], None), "stem");
}

/// The default store, and that the results are there too.
fn default_store(variables: &[(&str, &str)]) -> String {
    let config = load(&Flags::default(), variables, None).expect("loaded");
    assert_eq!(config.results, config.broker);
    config.broker.to_string()
}

#[test]
fn the_default_store_lies_in_the_users_data_directory() {
    let at_home = match cfg!(target_os = "macos") {
        true => "sqlite:/home/ada/Library/Application Support/stem/stem.db",
        false => "sqlite:/home/ada/.local/share/stem/stem.db",
    };
    assert_eq!(default_store(&[]), at_home);
    assert_eq!(default_store(&[("XDG_DATA_HOME", "relative")]), at_home);
    if !cfg!(target_os = "macos") {
        let elsewhere = default_store(&[("XDG_DATA_HOME", "/data")]);
        assert_eq!(elsewhere, "sqlite:/data/stem/stem.db");
    }
}

#[test]
fn results_are_where_the_broker_is_unless_something_else_is_said() {
    let variables = [
        ("STEM_BROKER_URL", "sqlite:/a.db"),
        ("STEM_RESULT_BACKEND_URL", "sqlite:/b.db"),
    ];
    let config = load(&Flags::default(), &variables, None).expect("loaded");
    assert_eq!(config.results.to_string(), "sqlite:/b.db");
    let config = load(&Flags::default(), &variables[..1], None).expect("loaded");
    assert_eq!(config.results.to_string(), "sqlite:/a.db");
}

#[test]
fn a_key_of_the_file_may_be_written_as_the_environment_writes_it() {
    for file in ["STEM_BROKER_URL", "broker_url", "broker-url"] {
        let file = format!("{file} = \"sqlite:/a.db\"");
        let config = load(&Flags::default(), &[], Some(&file)).expect("loaded");
        assert_eq!(config.broker.to_string(), "sqlite:/a.db");
    }
    let twice = "broker-url = \"memory:\"\nSTEM_BROKER_URL = \"memory:\"";
    let error = load(&Flags::default(), &[], Some(twice)).expect_err("refused");
    assert!(error.contains("given twice"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_good_one() {
    let error =
        load(&Flags::default(), &[], Some("broker-ulr = \"memory:\"")).expect_err("refused");
    assert!(
        error.contains("unknown key `broker-ulr`; did you mean `broker-url`?"),
        "{error}"
    );
}

#[test]
fn a_variable_that_is_nearly_one_of_ours_is_refused_and_another_is_left_alone() {
    let variables = [("STEM_BROKER_ULR", "memory:")];
    let error = load(&Flags::default(), &variables, None).expect_err("refused");
    assert!(error.contains("did you mean `STEM_BROKER_URL`?"), "{error}");
    let others = [
        ("STEM_SERVICE_HOST", "10.0.0.1"),
        ("STEM_PORT", "tcp://10.0.0.1"),
    ];
    assert!(load(&Flags::default(), &others, None).is_ok());
}

#[test]
fn a_bad_value_is_refused_with_the_place_that_it_came_from() {
    for (file, said) in [
        ("default-queue = \"ä\"", "`default-queue` in"),
        ("namespace = 7", "`namespace` is no text"),
        ("namespace", "line 1"),
    ] {
        let error = load(&Flags::default(), &[], Some(file)).expect_err("refused");
        assert!(error.contains(said), "{error}");
    }
}

const BAD_VARIABLES: [(&str, &str, &str); 4] = [
    ("STEM_NAMESPACE", "a b", "read STEM_NAMESPACE"),
    ("STEM_PAYLOAD_LIMIT", "much", "`much` is no size"),
    ("STEM_BROKER_URL", "postgres://h", "a later version"),
    ("STEM_ALLOW_EVICTION", "yes", "neither true nor false"),
];

#[test]
fn a_bad_variable_is_refused_by_name() {
    for (name, value, said) in BAD_VARIABLES {
        let error = load(&Flags::default(), &[(name, value)], None).expect_err("refused");
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error =
        load(&Flags::default(), &[("STEM_CONFIG", "none.toml")], None).expect_err("refused");
    assert!(error.contains("there is no such file"), "{error}");
}

#[test]
fn a_path_in_a_file_is_meant_from_that_files_folder() {
    let folder = folder(Some("broker-url = \"sqlite:stem.db\""));
    let flags = Flags {
        config: Some(folder.path().join(FILE_NAME)),
        ..Flags::default()
    };
    let config = Config::load(&flags, &environment(&[]), Path::new("/elsewhere")).expect("loaded");
    assert_eq!(config.broker, StoreUrl::file(folder.path().join("stem.db")));
}

/// The folder and the key of the cache; nothing where there is none.
fn cache(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<(String, String)> {
    let flags = Flags {
        cache_dir: flag.map(str::to_owned),
        ..Flags::default()
    };
    let cache = load(&flags, variables, None).expect("loaded").cache?;
    let text = |path: PathBuf| path.display().to_string();
    Some((text(cache.folder), text(cache.key)))
}

/// S5
#[test]
fn compiled_code_lies_in_the_users_cache_directory_and_its_key_elsewhere() {
    if cfg!(target_os = "macos") {
        return;
    }
    let key = "/home/ada/.local/share/stem/cache.key".to_owned();
    let lies_in = |folder: &str| Some((folder.to_owned(), key.clone()));
    assert_eq!(cache(None, &[]), lies_in("/home/ada/.cache/stem"));
    let directory = ("XDG_CACHE_HOME", "/caches");
    assert_eq!(cache(None, &[directory]), lies_in("/caches/stem"));
    let variable = ("STEM_CACHE_DIR", "/own");
    assert_eq!(cache(None, &[directory, variable]), lies_in("/own"));
    assert_eq!(cache(Some("/flag"), &[variable]), lies_in("/flag"));
    assert_eq!(cache(Some("none"), &[variable]), None);
    let homeless = [("HOME", ""), ("STEM_BROKER_URL", "memory:")];
    assert_eq!(cache(None, &homeless), None);
}

/// S5
#[test]
fn the_cache_has_a_size_and_a_relative_folder_is_meant_from_its_file() {
    let folder = folder(Some("cache-dir = \"code\"\ncache-size = \"3MiB\""));
    let flags = Flags {
        config: Some(folder.path().join(FILE_NAME)),
        ..Flags::default()
    };
    let config = Config::load(&flags, &environment(&[]), Path::new("/elsewhere")).expect("loaded");
    let cache = config.cache.expect("a cache");
    assert_eq!(cache.folder, folder.path().join("code"));
    assert_eq!(cache.size, ByteSize::mib(3));
}

/// M4
#[test]
fn secrets_come_from_the_environment_and_no_form_of_the_settings_shows_one() {
    let variables = [("STEM_SECRET_TOKEN", "hunter2"), ("STEM_SECRET_NONE", "")];
    let config = load(&Flags::default(), &variables, None).expect("loaded");
    let names = config.secrets.variables.keys();
    assert_eq!(
        names.map(|name| name.as_str()).collect::<Vec<_>>(),
        ["TOKEN"]
    );
    let shown = format!("{config:?}");
    assert!(shown.contains("TOKEN"), "{shown}");
    let shown = format!("{shown} {:?}", environment(&variables));
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// X4
#[test]
fn no_form_of_the_settings_shows_the_password_of_a_server() {
    let variables = [("STEM_BROKER_URL", "redis://ada:hunter2@h/1")];
    let config = load(&Flags::default(), &variables, None).expect("loaded");
    assert_eq!(config.results.to_string(), "redis://h:6379/1");
    let shown = format!("{config:?} {:?}", environment(&variables));
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// X5
#[test]
fn tls_settings_come_from_flags_the_environment_and_the_file() {
    let folder = folder(Some("tls-ca-cert = \"ca.pem\"\nallow-eviction = true"));
    let flags = Flags {
        config: Some(folder.path().join(FILE_NAME)),
        tls_client_key: Some("flag.key".to_owned()),
        ..Flags::default()
    };
    let [certificate, key] = ["CERT", "KEY"].map(|part| format!("STEM_TLS_CLIENT_{part}"));
    let variables = environment(&[(&certificate, "client.pem"), (&key, "client.key")]);
    let config = Config::load(&flags, &variables, folder.path());
    let servers = config.expect("loaded").servers;
    assert_eq!(servers.authority, Some(folder.path().join("ca.pem")));
    let pair = servers.client.expect("a pair");
    assert_eq!(pair, ("client.pem".into(), "flag.key".into()));
    assert!(servers.allows_eviction && !servers.allows_insecure);
}

/// X5
#[test]
fn a_client_certificate_and_its_key_come_together() {
    for (name, missing) in [
        ("STEM_TLS_CLIENT_CERT", "STEM_TLS_CLIENT_KEY names it"),
        ("STEM_TLS_CLIENT_KEY", "STEM_TLS_CLIENT_CERT names it"),
    ] {
        let refused = load(&Flags::default(), &[(name, "a.pem")], None);
        let said = refused.expect_err("refused");
        assert!(said.contains(missing), "{said}");
    }
}

/// M4
#[test]
fn a_directory_of_secrets_in_a_file_is_meant_from_that_files_folder() {
    let folder = folder(Some("secrets-dir = \"keys\""));
    let flags = Flags {
        config: Some(folder.path().join(FILE_NAME)),
        ..Flags::default()
    };
    let config = Config::load(&flags, &environment(&[]), Path::new("/elsewhere")).expect("loaded");
    assert_eq!(config.secrets.directory, Some(folder.path().join("keys")));
}

/// M4
#[test]
fn a_variable_that_can_be_no_secret_is_refused_without_its_value() {
    let error = load(&Flags::default(), &[("STEM_SECRET_A-B", "hunter2")], None);
    let error = error.expect_err("refused");
    assert!(
        error.contains("read STEM_SECRET_A-B: `A-B` is no name of a secret"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}
