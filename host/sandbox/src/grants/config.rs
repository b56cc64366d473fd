//! `wasi:config/store`: a module's values and secrets by name (S2, M4).
//!
//! Linked by hand: toolchains import the one interface under four names, and each is its own to the linker.

use stem_core::grants::{Capability, Grants};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

use crate::context::Guest;

/// The names under which it was published, without its package: all have the same two functions.
const PUBLISHED: [(&str, &str); 4] = [
    ("store", "0.2.0-rc.1"),
    ("store", "0.2.0-draft"),
    ("store", "0.2.0-draft-2024-09-27"),
    ("runtime", "0.2.0-draft"),
];
const LONGEST_KEY: usize = 256;

/// The interface's own `error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StoreError {
    #[component(name = "upstream")]
    Upstream(String),
    #[expect(
        dead_code,
        reason = "a case of the interface that this host never meets"
    )]
    #[component(name = "io")]
    Io(String),
}

type Answer<T> = (Result<T, StoreError>,);

/// Whether this host provides this version of an interface of `wasi:config`.
pub(crate) fn is_provided(interface: &str, version: &str) -> bool {
    PUBLISHED.contains(&(interface, version))
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for (interface, version) in PUBLISHED {
        let mut store = linker.instance(&format!("wasi:config/{interface}@{version}"))?;
        store.func_wrap(
            "get",
            |mut guest: StoreContextMut<'_, Guest>, (key,): (String,)| {
                Ok(get(guest.data_mut().called(), &key))
            },
        )?;
        store.func_wrap(
            "get-all",
            |mut guest: StoreContextMut<'_, Guest>, (): ()| Ok(get_all(guest.data_mut().called())),
        )?;
    }
    Ok(())
}

fn get(guest: &Guest, key: &str) -> Answer<Option<String>> {
    (allowed(guest).map(|grants| match grants.config.get(key) {
        Some(value) => Some(value.clone()),
        None => secret(guest, grants, key),
    }),)
}

/// A secret that only stands in a header is none of the guest's.
fn secret(guest: &Guest, grants: &Grants, key: &str) -> Option<String> {
    let is_its = grants.secrets.iter().any(|name| name.as_str() == key);
    let value = guest.values.get(key).filter(|_| is_its)?;
    Some(value.reveal().to_owned())
}

fn get_all(guest: &Guest) -> Answer<Vec<(String, String)>> {
    (allowed(guest).map(|grants| {
        let values = grants
            .config
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        let names = grants.secrets.iter().map(|name| name.as_str());
        let secrets =
            names.filter_map(|name| Some((name.to_owned(), secret(guest, grants, name)?)));
        values.chain(secrets).collect()
    }),)
}

fn allowed(guest: &Guest) -> Result<&Grants, StoreError> {
    let grants = &guest.granted.grants;
    match grants.has(Capability::Config) {
        true => Ok(grants),
        false => Err(StoreError::Upstream(
            "this deployment was granted no values and no secrets".to_owned(),
        )),
    }
}

pub(super) fn check(grants: &Grants) -> Result<(), String> {
    for (key, value) in &grants.config {
        let shown = key.escape_debug();
        if grants.secrets.iter().any(|name| name.as_str() == key) {
            return Err(format!(
                "`{shown}` is in `config` and in `secrets`, and a module asks for both by name: rename one of them"
            ));
        }
        if key.is_empty() || key.len() > LONGEST_KEY || key.chars().any(char::is_control) {
            return Err(format!(
                "`{shown}` is no key of `config`: use 1 to {LONGEST_KEY} bytes without control characters"
            ));
        }
        super::check_size("config", key, value)?;
    }
    super::check_sum("config", grants.config.iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::secrets::SecretName;

    fn problem(key: &str, value: String) -> String {
        let grants = Grants {
            config: [(key.to_owned(), value)].into(),
            secrets: [SecretName::new("TOKEN").expect("a name")].into(),
            ..Grants::default()
        };
        check(&grants).expect_err("refused")
    }

    /// M4
    #[test]
    fn a_key_that_is_a_secrets_name_too_is_refused() {
        let said = problem("TOKEN", "hunter2".to_owned());
        assert!(
            said.starts_with("`TOKEN` is in `config` and in `secrets`"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn keys_and_values_have_a_limit() {
        assert!(problem("", String::new()).contains("no key of `config`"));
        assert!(problem("a\nb", String::new()).contains("`a\\nb` is no key"));
        assert!(problem("a", "x".repeat(65_537)).contains("65537 bytes, over the limit of 65536"));
        let many = (0..5).map(|number| (number.to_string(), "x".repeat(60_000)));
        let grants = Grants {
            config: many.collect(),
            ..Grants::default()
        };
        let said = check(&grants).expect_err("too much");
        assert!(said.contains("`config` has 300005 bytes in all"), "{said}");
    }
}
