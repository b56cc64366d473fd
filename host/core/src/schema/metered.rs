//! JSON values that count how often and how deeply a schema looks at them, and end the look that goes too far.
//!
//! A validator asks a value something in each of its steps, and nothing else of its own can be told to stop: so the
//! values do it, by unwinding.

use std::borrow::Cow;
use std::cell::Cell;
use std::hint::black_box;
use std::iter::Map;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::slice;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp, unique};
use serde_json::Value;

/// Steps that a check may take: one for each question about a value, and one for each of its bytes or members that
/// the question is about.
pub(super) const MOST_STEPS: usize = 10_000_000;
/// Stack that a check may take of whatever thread it runs on.
const MOST_STACK: usize = 1 << 20;

/// Why a check was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stopped {
    #[error(
        "checking it takes more than {MOST_STEPS} steps: make the payload smaller, or the task's schema simpler"
    )]
    Steps,
    #[error("it is nested too deeply for the task's schema: make it flatter")]
    Stack,
}

#[derive(Clone, Copy)]
struct Meter {
    left: usize,
    /// The address that the stack must not grow below.
    floor: usize,
}

/// Nothing is counted where nobody checks a payload.
const IDLE: Meter = Meter {
    left: usize::MAX,
    floor: 0,
};

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(IDLE) };
}

/// Runs a check, as long as it takes no more than so many steps.
pub(super) fn metered<T>(steps: usize, check: impl FnOnce() -> T) -> Result<T, Stopped> {
    METER.set(Meter {
        left: steps,
        floor: stack_position().saturating_sub(MOST_STACK),
    });
    // A validator has no state that a check could leave half changed.
    let checked = catch_unwind(AssertUnwindSafe(check));
    METER.set(IDLE);
    checked.map_err(|panic| match panic.downcast::<Stopped>() {
        Ok(stopped) => *stopped,
        Err(other) => resume_unwind(other),
    })
}

fn charge(steps: usize) {
    let meter = METER.get();
    let Some(left) = meter.left.checked_sub(steps) else {
        resume_unwind(Box::new(Stopped::Steps));
    };
    if stack_position() < meter.floor {
        resume_unwind(Box::new(Stopped::Stack));
    }
    METER.set(Meter { left, ..meter });
}

#[inline(never)]
fn stack_position() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(black_box(&here)).addr()
}

/// Every value in it, and every byte of its texts.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + text.len(),
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| name.len() + size(value);
            1 + members.iter().map(member).sum::<usize>()
        }
    }
}

/// The representation of JSON that is metered.
pub(super) struct MeteredJson;

/// A value of it.
#[derive(Clone, Copy)]
pub(super) struct Metered<'a>(pub(super) &'a Value);

/// Its members.
pub(super) struct Members<'a>(&'a serde_json::Map<String, Value>);

/// Its items.
pub(super) struct Items<'a>(&'a [Value]);

impl Json for MeteredJson {
    type Node<'a> = Metered<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(
        buffer: &mut Value,
        string: &str,
        check: impl FnOnce(Metered<'_>) -> T,
    ) -> T {
        *buffer = Value::String(string.to_owned());
        check(Metered(buffer))
    }
}

impl<'a> Node<'a, MeteredJson> for Metered<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a serde_json::Number;

    fn as_object(&self) -> Option<Members<'a>> {
        charge(1);
        self.0.as_object().map(Members)
    }

    fn as_array(&self) -> Option<Items<'a>> {
        charge(1);
        self.0.as_array().map(|items| Items(items))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.0.as_str();
        charge(1 + text.map_or(0, str::len));
        text.map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a serde_json::Number> {
        charge(1);
        self.0.as_number()
    }

    fn as_boolean(&self) -> Option<bool> {
        charge(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        charge(1);
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        charge(1);
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        charge(match (self.0, expected) {
            (Value::String(text), Value::String(other)) if text.len() == other.len() => {
                1 + text.len()
            }
            // One that is not equal may differ at its end.
            (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => {
                size(expected)
            }
            _ => 1,
        });
        cmp::equal(self.0, expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        charge(1);
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.0).addr()))
    }
}

impl<'a> Object<'a, MeteredJson> for Members<'a> {
    type Node = Metered<'a>;
    type MemberName = &'a str;
    type MembersIter =
        Map<serde_json::map::Iter<'a>, fn((&'a String, &'a Value)) -> (&'a str, Metered<'a>)>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Metered<'a>> {
        charge(1);
        self.0.get(key).map(Metered)
    }

    fn members(&self) -> Self::MembersIter {
        self.0.iter().map(|(name, value)| {
            charge(1 + name.len());
            (name.as_str(), Metered(value))
        })
    }
}

impl<'a> Array<'a, MeteredJson> for Items<'a> {
    type Node = Metered<'a>;
    type ElementsIter = Map<slice::Iter<'a, Value>, fn(&'a Value) -> Metered<'a>>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Self::ElementsIter {
        self.0.iter().map(|item| {
            charge(1);
            Metered(item)
        })
    }

    fn is_unique(&self) -> bool {
        charge(self.0.iter().map(size).sum());
        unique::is_unique(self.0)
    }
}
