//! `wasi:config/store`: imported by the modules that ask for a value, and by no other.

use crate::context::ConfigError;

use bindings::wasi::config::store;

#[allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    reason = "generated: the canonical ABI is made of raw memory"
)]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stem:guest-config;

            world config {
                import wasi:config/store@0.2.0-rc.1;
            }

            package wasi:config@0.2.0-rc.1 {
                interface store {
                    variant error { upstream(string), io(string) }
                    get: func(key: string) -> result<option<string>, error>;
                    get-all: func() -> result<list<tuple<string, string>>, error>;
                }
            }
        ",
        world: "config",
        generate_all,
    });
}

pub(super) fn get(key: &str) -> Result<Option<String>, ConfigError> {
    store::get(key).map_err(|error| match error {
        store::Error::Upstream(why) | store::Error::Io(why) => ConfigError::new(why),
    })
}
