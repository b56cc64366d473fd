//! What a module may import: what every module has, what must be granted, and what nobody provides (S2).

use stem_core::grants::{Capability, Grants};

use crate::grants::{config, keyvalue};

/// How an import is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Import {
    /// Every module has it.
    Ambient,
    /// Only where the operator grants it.
    Granted(Capability),
    /// Known, in a version that this host does not provide.
    OtherVersion,
    /// By nobody.
    Unknown,
}

/// Linked for every module, with nothing behind them that it could reach.
const AMBIENT: [&str; 6] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:io",
    "wasi:random",
    "wasi:sockets",
];
const WASI: &str = "0.2.";
const TASK: &str = "0.1.0";

/// How an import of this name (`wasi:io/poll@0.2.6`) is met.
pub(crate) fn kind(name: &str) -> Import {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let Some((package, interface)) = path.split_once('/') else {
        return Import::Unknown;
    };
    match (package, interface) {
        ("stem:task", "context" | "log" | "types") if version == TASK => Import::Ambient,
        ("stem:task", "context" | "log" | "types") => Import::OtherVersion,
        ("stem:task", "enqueue") if version == TASK => Import::Granted(Capability::Enqueue),
        ("stem:task", "enqueue") => Import::OtherVersion,
        _ if AMBIENT.contains(&package) && version.starts_with(WASI) => Import::Ambient,
        _ if AMBIENT.contains(&package) => Import::OtherVersion,
        ("wasi:http", "types" | "outgoing-handler") if version.starts_with(WASI) => {
            Import::Granted(Capability::Http)
        }
        ("wasi:http", "types" | "outgoing-handler") => Import::OtherVersion,
        ("wasi:config", _) if config::is_provided(interface, version) => {
            Import::Granted(Capability::Config)
        }
        ("wasi:config", _) => Import::OtherVersion,
        ("wasi:keyvalue", _) if keyvalue::is_provided(interface, version) => {
            Import::Granted(Capability::KeyValue)
        }
        ("wasi:keyvalue", _) => Import::OtherVersion,
        _ => Import::Unknown,
    }
}

/// Why a module with these imports may not be deployed with these grants: which are at fault, and what would allow them.
pub(crate) fn refuse(names: &[&str], grants: &Grants) -> Option<(String, String)> {
    let refused = |capability: Capability| {
        let is_its = |name: &&&str| kind(name) == Import::Granted(capability);
        let found = listed(names.iter().filter(is_its).copied());
        (!found.is_empty() && !grants.allows(capability)).then_some((capability, found))
    };
    let refused: Vec<_> = Capability::ALL.into_iter().filter_map(refused).collect();
    let imports: Vec<&str> = refused.iter().map(|(_, found)| found.as_str()).collect();
    let remedies = refused.iter().map(|(capability, _)| {
        let (remedy, stub) = (capability.remedy(), capability.as_str());
        format!("allow it with {remedy} under [grants] in stem.toml; `--stub {stub}` refuses its calls instead")
    });
    let remedies: Vec<String> = remedies.collect();
    (!refused.is_empty()).then(|| (imports.join(", "), remedies.join("; ")))
}

/// Names as a message lists them.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2, M1
    #[test]
    fn a_refused_import_is_named_with_what_would_allow_it() {
        let names = ["wasi:io/poll@0.2.6", "wasi:http/types@0.2.6"];
        let (imports, remedy) = refuse(&names, &Grants::default()).expect("refused");
        assert_eq!(imports, "`wasi:http/types@0.2.6`");
        assert!(remedy.contains("--allow-http HOST"), "{remedy}");
        let granted = Grants {
            http: vec!["https://example.com".parse().expect("an origin")],
            ..Grants::default()
        };
        let stubbed = Grants {
            stubs: [Capability::Http].into(),
            ..Grants::default()
        };
        assert_eq!(refuse(&names, &granted), None);
        assert_eq!(refuse(&names, &stubbed), None);
    }

    const IMPORTS: [(&str, Import); 16] = [
        ("stem:task/log@0.1.0", Import::Ambient),
        ("stem:task/log@0.2.0", Import::OtherVersion),
        (
            "stem:task/enqueue@0.1.0",
            Import::Granted(Capability::Enqueue),
        ),
        ("stem:task/inputs@0.1.0", Import::Unknown),
        ("wasi:io/poll@0.2.12", Import::Ambient),
        ("wasi:io/poll@0.3.0", Import::OtherVersion),
        ("wasi:http/types@0.2.0", Import::Granted(Capability::Http)),
        ("wasi:http/types@0.3.0", Import::OtherVersion),
        ("wasi:http/incoming-handler@0.2.0", Import::Unknown),
        (
            "wasi:keyvalue/store@0.2.0-draft",
            Import::Granted(Capability::KeyValue),
        ),
        (
            "wasi:config/store@0.2.0-rc.1",
            Import::Granted(Capability::Config),
        ),
        ("wasi:config/store@0.3.0", Import::OtherVersion),
        (
            "wasi:keyvalue/atomics@0.2.0-draft2",
            Import::Granted(Capability::KeyValue),
        ),
        ("wasi:keyvalue/store@0.1.0", Import::OtherVersion),
        ("wasi:nn/graph@0.2.0", Import::Unknown),
        ("run", Import::Unknown),
    ];

    /// S2
    #[test]
    fn an_import_is_ambient_or_granted_or_refused() {
        for (name, expected) in IMPORTS {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
