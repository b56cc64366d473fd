//! What a module may import: what every module has, what must be granted, and what nobody provides (S2).

/// How an import is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Import {
    /// Every module has it.
    Ambient,
    /// Only where the operator grants it.
    ToBeGranted,
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
const GRANTED: [&str; 3] = ["wasi:config", "wasi:http", "wasi:keyvalue"];
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
        ("stem:task", "enqueue") => Import::ToBeGranted,
        _ if AMBIENT.contains(&package) && version.starts_with(WASI) => Import::Ambient,
        _ if AMBIENT.contains(&package) => Import::OtherVersion,
        _ if GRANTED.contains(&package) => Import::ToBeGranted,
        _ => Import::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2
    #[test]
    fn an_import_is_ambient_or_granted_or_refused() {
        for (name, expected) in [
            ("stem:task/log@0.1.0", Import::Ambient),
            ("stem:task/log@0.2.0", Import::OtherVersion),
            ("stem:task/enqueue@0.1.0", Import::ToBeGranted),
            ("stem:task/inputs@0.1.0", Import::Unknown),
            ("wasi:io/poll@0.2.12", Import::Ambient),
            ("wasi:io/poll@0.3.0", Import::OtherVersion),
            ("wasi:http/types@0.2.0", Import::ToBeGranted),
            ("wasi:keyvalue/store@0.2.0-draft", Import::ToBeGranted),
            ("wasi:nn/graph@0.2.0", Import::Unknown),
            ("acme:metrics/counter", Import::Unknown),
            ("run", Import::Unknown),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
