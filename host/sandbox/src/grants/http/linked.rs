//! What is linked in place of the library's own functions, which leave the host with more than it should hold (S3).
//!
//! A part of a request is kept as its guest wrote it, whatever is granted, and a guest may hold thousands of requests:
//! each part is only as long as servers take it. And the options of a request are gone when it is sent.

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, FutureIncomingResponse, Host as _, HostOutgoingRequest, Method, OutgoingRequest,
    RequestOptions,
};

use super::most;
use crate::context::Guest;

/// The names that the library links its interfaces by.
const TYPES: &str = "wasi:http/types@0.2.12";
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Request = Resource<OutgoingRequest>;
/// What such a function of the guest's gives.
type Set = Result<(std::result::Result<(), ()>,)>;

/// What the guest gets for a request that it sends.
type Sent = Result<(std::result::Result<Resource<FutureIncomingResponse>, ErrorCode>,)>;

/// In place of what is linked already; a scheme has 64 bytes at most as it is.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    let added = shadow(linker);
    linker.allow_shadowing(false);
    added
}

fn shadow(linker: &mut Linker<Guest>) -> Result<()> {
    linker.instance(HANDLER)?.func_wrap("handle", handle)?;
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]outgoing-request.set-method", set_method)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority)?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", set_path)
}

fn set_method(mut store: StoreContextMut<'_, Guest>, (request, method): (Request, Method)) -> Set {
    let mut http = store.data_mut().http();
    let is_long = matches!(&method, Method::Other(word) if word.len() > most::METHOD);
    match is_long {
        true => Ok((Err(()),)),
        false => Ok((http.set_method(request, method)?,)),
    }
}

fn set_authority(
    mut store: StoreContextMut<'_, Guest>,
    (request, authority): (Request, Option<String>),
) -> Set {
    let mut http = store.data_mut().http();
    match authority.as_ref().map_or(0, String::len) > most::AUTHORITY {
        true => Ok((Err(()),)),
        false => Ok((http.set_authority(request, authority)?,)),
    }
}

fn set_path(
    mut store: StoreContextMut<'_, Guest>,
    (request, path): (Request, Option<String>),
) -> Set {
    let mut http = store.data_mut().http();
    match path.as_ref().map_or(0, String::len) > most::PATH {
        true => Ok((Err(()),)),
        false => Ok((http.set_path_with_query(request, path)?,)),
    }
}

/// The library forgets the options, which are the host's from here on, in the guest's table.
fn handle(
    mut store: StoreContextMut<'_, Guest>,
    (request, options): (Request, Option<Resource<RequestOptions>>),
) -> Sent {
    let http = &mut store.data_mut().http();
    let lent = options.as_ref().map(|own| Resource::new_borrow(own.rep()));
    let sent = http.handle(request, lent);
    if let Some(options) = options {
        http.table.delete(options)?;
    }
    match sent {
        Ok(coming) => Ok((Ok(coming),)),
        Err(error) => {
            let code = store.data_mut().http().convert_error_code(error)?;
            Ok((Err(code),))
        }
    }
}
