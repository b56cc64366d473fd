//! The host's side of `wit/task.wit`: generated, but for what is passed to `run` by reference.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "sdk",
    imports: {
        "stem:task/context.load-checkpoint": async | trappable,
        "stem:task/context.save-checkpoint": async | trappable,
        "stem:task/enqueue.submit": async | trappable,
        "stem:task/enqueue.submit-all": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});

/// What the module exports.
pub(crate) const HANDLER: &str = "stem:task/handler@0.1.0";

/// What a program exports instead (S9), in any version of this line.
pub(crate) const COMMAND: &str = "wasi:cli/run@0.2.";

/// The parameters of `run`: the generated types own their bytes, which would copy every payload once more.
pub(crate) mod by_reference {
    use wasmtime::component::{ComponentType, Lower};

    /// `types.payload`.
    #[derive(ComponentType, Lower)]
    #[component(record)]
    pub(crate) struct Payload<'a> {
        #[component(name = "content-type")]
        pub(crate) content_type: &'a str,
        pub(crate) body: &'a [u8],
    }

    /// `types.attempt`.
    #[derive(ComponentType, Lower)]
    #[component(record)]
    pub(crate) struct Attempt<'a> {
        pub(crate) id: &'a str,
        pub(crate) task: &'a str,
        pub(crate) queue: &'a str,
        pub(crate) number: u32,
        #[component(name = "max-attempts")]
        pub(crate) max_attempts: u32,
        pub(crate) delivery: u32,
        #[component(name = "enqueued-at")]
        pub(crate) enqueued_at: u64,
        #[component(name = "soft-time-limit")]
        pub(crate) soft_time_limit: Option<u64>,
        #[component(name = "hard-time-limit")]
        pub(crate) hard_time_limit: u64,
        pub(crate) headers: &'a [(&'a str, &'a str)],
        pub(crate) attributes: &'a [(&'a str, &'a str)],
    }
}
