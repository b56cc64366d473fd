//! What a guest waits for at one time: `wasi:io/poll`, bounded (S3).
//!
//! A guest makes one call to the host after the other. The one that makes the host work on many things at once is
//! `poll`, whose list may name a handle as often as it likes.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::context::Guest;
use crate::limits::OverCalls;

/// The guest's resources, as they are seen by who waits for them.
struct Waiting<'a>(&'a mut ResourceTable);

impl HasData for Waiting<'static> {
    type Data<'a> = Waiting<'a>;
}

/// Links `wasi:io/poll` in place of the one that waits for any number.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let added =
        poll::add_to_linker::<_, Waiting<'static>>(linker, |guest| Waiting(guest.ctx().table));
    linker.allow_shadowing(false);
    added
}

impl poll::Host for Waiting<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        OverCalls::check(pollables.len())?;
        poll::Host::poll(self.0, pollables).await
    }
}

impl poll::HostPollable for Waiting<'_> {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(self.0, pollable).await
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::block(self.0, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.0, pollable)
    }
}
