//! What a payload can choose, and how each is done.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::OutputStream;

use crate::wire::{Patience, answer, drain, request, said, send};

/// What is done.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Deed {
    /// Asks once, and says what came.
    Get {
        /// Where.
        url: String,
        /// What else it says.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// GET, or another word.
        #[serde(default = "get")]
        method: String,
        /// How long it waits.
        #[serde(default)]
        patience: Patience,
    },
    /// Asks many times, one after the other.
    Again {
        /// Where.
        url: String,
        /// GET, or another word.
        #[serde(default = "get")]
        method: String,
        /// How often.
        count: u32,
    },
    /// Asks once, and asks whoever it is sent to.
    Follow {
        /// Where.
        url: String,
    },
    /// Asks many times at once, and reads every answer.
    Many {
        /// Where.
        url: String,
        /// How often.
        count: u32,
        /// How long each of them waits.
        #[serde(default)]
        patience: Patience,
    },
    /// Asks many times at once, and keeps every answer unread.
    Hoard {
        /// Where.
        url: String,
        /// How often.
        count: u32,
    },
    /// Sends a body.
    Upload {
        /// Where to.
        url: String,
        /// Of this many bytes.
        bytes: u64,
    },
    /// Sends the beginning of a body, and ends.
    CutOff {
        /// Where to.
        url: String,
        /// After so many bytes.
        bytes: u64,
    },
    /// Makes bodies as full as they get, and sends none of them.
    Bodies,
    /// Makes many headers, and sends none of them.
    Fields {
        /// How many lines of 1 KiB each of them has.
        lines: u32,
    },
    /// Makes many requests, each part of them as long as it gets, and sends none of them.
    Parts,
}

fn get() -> String {
    "GET".to_owned()
}

impl Deed {
    /// Does it; gives what came of it.
    pub fn commit(self) -> Value {
        match self {
            Self::Get {
                url,
                headers,
                method,
                patience,
            } => get_once(&url, &headers, &method, &patience),
            Self::Again { url, method, count } => again(&url, &method, count),
            Self::Follow { url } => follow(&url),
            Self::Many {
                url,
                count,
                patience,
            } => many(&url, count, &patience),
            Self::Hoard { url, count } => hoard(&url, count),
            Self::Upload { url, bytes } => outcome(upload(&url, bytes)),
            Self::CutOff { url, bytes } => cut_off(&url, bytes),
            Self::Bodies => bodies(),
            Self::Fields { lines } => fields(lines),
            Self::Parts => parts(),
        }
    }
}

fn outcome(done: Result<Value, String>) -> Value {
    done.unwrap_or_else(|error| json!({"error": error}))
}

fn get_once(
    url: &str,
    headers: &BTreeMap<String, String>,
    method: &str,
    patience: &Patience,
) -> Value {
    let method = Method::Other(method.to_owned());
    outcome(
        request(&method, url, headers)
            .and_then(|request| send(request, patience))
            .and_then(|coming| {
                let answer = answer(&coming)?;
                let headers = answer.headers().entries();
                let text = |(name, value): (String, Vec<u8>)| {
                    (name, String::from_utf8_lossy(&value).into_owned())
                };
                let headers: BTreeMap<String, String> = headers.into_iter().map(text).collect();
                let status = answer.status();
                let bytes = drain(&answer);
                Ok(json!({"status": status, "headers": headers, "body": bytes}))
            }),
    )
}

fn follow(url: &str) -> Value {
    let (none, patience) = (BTreeMap::new(), Patience::default());
    let first = get_once(url, &none, "GET", &patience);
    let place = first["headers"]["location"].as_str().unwrap_or_default();
    let then = get_once(place, &none, "GET", &patience);
    json!({"status": first["status"], "then": then})
}

/// How often each thing happened.
fn tally(happened: impl Iterator<Item = Result<String, String>>) -> Value {
    let mut counts = BTreeMap::<String, u32>::new();
    for what in happened {
        *counts
            .entry(what.unwrap_or_else(|error| error))
            .or_default() += 1;
    }
    json!(counts)
}

fn again(url: &str, method: &str, count: u32) -> Value {
    let method = Method::Other(method.to_owned());
    tally((0..count).map(|_| {
        let request = request(&method, url, &BTreeMap::new())?;
        let answer = answer(&send(request, &Patience::default())?)?;
        drain(&answer)?;
        Ok(answer.status().to_string())
    }))
}

fn many(url: &str, count: u32, patience: &Patience) -> Value {
    let request = || request(&Method::Get, url, &BTreeMap::new());
    let begin = || request().and_then(|request| send(request, patience));
    let coming: Vec<_> = (0..count).map(|_| begin()).collect();
    tally(coming.into_iter().map(|coming| {
        let answer = answer(&coming?)?;
        drain(&answer)?;
        Ok(answer.status().to_string())
    }))
}

fn hoard(url: &str, count: u32) -> Value {
    let impatient = Patience {
        connect: Some(500),
        ..Patience::default()
    };
    let request = || request(&Method::Get, url, &BTreeMap::new());
    let begin = || request().and_then(|request| send(request, &impatient));
    let coming: Vec<_> = (0..count).map(|_| begin()).collect();
    let mut kept = Vec::new();
    tally(coming.iter().map(|coming| {
        let answer = answer(coming.as_ref().map_err(Clone::clone)?)?;
        let status = answer.status();
        kept.push(answer);
        Ok(status.to_string())
    }))
}

/// A request whose body is open: its parts, in the order in which they are dropped.
fn open(url: &str) -> Result<(OutputStream, OutgoingBody, OutgoingRequest), String> {
    let request = request(&Method::Post, url, &BTreeMap::new())?;
    let body = request.body().map_err(|()| "no body")?;
    let stream = body.write().map_err(|()| "no stream")?;
    Ok((stream, body, request))
}

/// Writes so many bytes, as fast as they are taken.
fn write(stream: &OutputStream, bytes: u64) -> Result<(), String> {
    let piece = vec![b'x'; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        stream.subscribe().block();
        let room = stream
            .check_write()
            .map_err(|error| format!("{error:?} {left} before the end"))?;
        let taken = room.min(left).min(piece.len() as u64);
        let written = stream.write(&piece[..usize::try_from(taken).unwrap_or(0)]);
        written.map_err(|error| format!("{error:?} {left} before the end"))?;
        left -= taken;
    }
    Ok(())
}

fn upload(url: &str, bytes: u64) -> Result<Value, String> {
    let (stream, body, request) = open(url)?;
    let coming = handle(request, None).map_err(|code| said(&code))?;
    let written = write(&stream, bytes);
    drop(stream);
    let finished = OutgoingBody::finish(body, None).map_err(|code| said(&code));
    let status = answer(&coming).map(|answer| answer.status());
    Ok(json!({"written": written, "finished": finished, "answer": status}))
}

fn cut_off(url: &str, bytes: u64) -> Value {
    let begun = open(url).and_then(|(stream, body, request)| {
        let coming = handle(request, None).map_err(|code| said(&code))?;
        let written = write(&stream, bytes);
        // The host is to end it, as it would a task that was killed.
        std::mem::forget((stream, body, coming));
        written
    });
    json!({"written": begun})
}

fn bodies() -> Value {
    let fill = |_| {
        let (stream, body, request) = open("http://nowhere.example").ok()?;
        let mut held = 0;
        while let Ok(room @ 1..) = stream.check_write() {
            let piece = vec![0; usize::try_from(room).unwrap_or(0)];
            stream.write(&piece).ok()?;
            held += room;
        }
        std::mem::forget((stream, body, request));
        Some(held)
    };
    json!({"held": (0..1_000).map_while(fill).sum::<u64>()})
}

fn fields(lines: u32) -> Value {
    let value = vec![b'x'; 1 << 10];
    let fill = |_| {
        let fields = Fields::new();
        let appended = (0..lines).map_while(|_| fields.append("x", &value).ok());
        let held = appended.count() as u64 * 1_024;
        std::mem::forget(fields);
        held
    };
    json!({"held": (0..3_000).map(fill).sum::<u64>()})
}

/// What is taken at most of what may be up to 1 MiB long.
fn longest(is_taken: impl Fn(&str) -> bool) -> usize {
    let text = "x".repeat(1 << 20);
    let (mut taken, mut refused) = (0, text.len() + 1);
    while refused - taken > 1 {
        let middle = taken.midpoint(refused);
        match is_taken(&text[..middle]) {
            true => taken = middle,
            false => refused = middle,
        }
    }
    taken
}

fn parts() -> Value {
    let empty = || OutgoingRequest::new(Fields::new());
    let set_method = |request: &OutgoingRequest, text: &str| {
        let method = Method::Other(text.to_owned());
        request.set_method(&method).is_ok()
    };
    let set_scheme = |request: &OutgoingRequest, text: &str| {
        let scheme = Scheme::Other(text.to_owned());
        request.set_scheme(Some(&scheme)).is_ok()
    };
    let set_authority =
        |request: &OutgoingRequest, text: &str| request.set_authority(Some(text)).is_ok();
    let set_path = |request: &OutgoingRequest, text: &str| {
        let path = format!("/{text}");
        request.set_path_with_query(Some(&path)).is_ok()
    };
    let request = empty();
    let method = longest(|text| set_method(&request, text));
    let scheme = longest(|text| set_scheme(&request, text));
    let authority = longest(|text| set_authority(&request, text));
    let path = longest(|text| set_path(&request, text));
    let text = "x".repeat(method.max(scheme).max(authority).max(path));
    let made = (0..4_000).take_while(|_| {
        let request = empty();
        let is_full = set_method(&request, &text[..method])
            && set_scheme(&request, &text[..scheme])
            && set_authority(&request, &text[..authority])
            && set_path(&request, &text[..path]);
        std::mem::forget(request);
        is_full
    });
    let requests = made.count();
    json!({"method": method, "scheme": scheme, "authority": authority, "path": path + 1, "requests": requests})
}
