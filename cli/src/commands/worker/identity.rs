//! Who a worker is: the machine's name, and a name that no other start has.

use stem_core::names::WorkerName;

/// The machine's name, as far as it can be learnt.
pub fn host_name() -> String {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = from_kernel.or_else(|| {
        let asked = std::process::Command::new("hostname").output().ok()?;
        String::from_utf8(asked.stdout).ok()
    });
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// A name that says where and which process, and that no other start has.
pub fn new_name() -> WorkerName {
    let host: String = host_name()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c))
        .take(64)
        .collect();
    // Process ids come again after a restart: a few random digits tell the starts apart.
    let random = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{host}-{}-{}", std::process::id(), &random[..6]);
    WorkerName::new(name).expect("made of allowed characters, and short")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W6
    #[test]
    fn no_two_starts_have_one_name() {
        assert_ne!(new_name(), new_name());
    }
}
