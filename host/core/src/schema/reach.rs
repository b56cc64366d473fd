//! How many schemas look at one and the same value, and how deep in one another: what a schema's author can multiply.
//!
//! A schema that refers to itself below a property or an item is bounded by the payload; one that does so in place is
//! not. Every object is taken for a schema, also where it is none: that can only bound more.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::SchemaError;

/// The longest line of schemas that one value goes through.
pub(super) const DEEPEST: usize = 64;
/// The most schemas that one value is held against.
pub(super) const MOST_SCHEMAS: usize = 10_000;
/// Each takes memory when it is compiled.
pub(super) const MOST_PATTERNS: usize = 64;

/// Keywords whose schemas look at the value that their own schema looks at: one, a list, or by name.
const ONE: [&str; 4] = ["not", "if", "then", "else"];
const LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const NAMED: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords that mean something else elsewhere in a schema, or from where it was referred to.
const FOREIGN: [&str; 3] = ["$id", "$dynamicRef", "$recursiveRef"];

/// Refuses a schema that nothing but a payload's patience would bound.
pub(super) fn check(root: &Value) -> Result<(), SchemaError> {
    let mut survey = Survey {
        root,
        known: HashMap::new(),
        patterns: 0,
    };
    survey.visit(root)
}

struct Survey<'a> {
    root: &'a Value,
    /// By address: the schema is not changed meanwhile.
    known: HashMap<*const Value, Reach>,
    patterns: usize,
}

/// Schemas that look at what one looks at, itself included.
#[derive(Clone, Copy)]
struct Reach {
    schemas: usize,
    depth: usize,
}

impl<'a> Survey<'a> {
    fn visit(&mut self, value: &'a Value) -> Result<(), SchemaError> {
        match value {
            Value::Object(object) => {
                self.count_patterns(object)?;
                self.reach(value, 0)?;
                object.values().try_for_each(|below| self.visit(below))
            }
            Value::Array(items) => items.iter().try_for_each(|below| self.visit(below)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn count_patterns(&mut self, object: &Map<String, Value>) -> Result<(), SchemaError> {
        let one = usize::from(object.get("pattern").is_some_and(Value::is_string));
        let named = object.get("patternProperties").and_then(Value::as_object);
        self.patterns += one + named.map_or(0, Map::len);
        match self.patterns > MOST_PATTERNS {
            true => Err(SchemaError::TooManyPatterns),
            false => Ok(()),
        }
    }

    fn reach(&mut self, schema: &'a Value, above: usize) -> Result<Reach, SchemaError> {
        if above > DEEPEST {
            return Err(SchemaError::TooDeep);
        }
        let address = std::ptr::from_ref(schema);
        let reach = match self.known.get(&address) {
            Some(known) => *known,
            None => self.reach_anew(schema, above)?,
        };
        if above + reach.depth > DEEPEST {
            return Err(SchemaError::TooDeep);
        }
        self.known.insert(address, reach);
        Ok(reach)
    }

    fn reach_anew(&mut self, schema: &'a Value, above: usize) -> Result<Reach, SchemaError> {
        let mut all = Reach {
            schemas: 1,
            depth: 0,
        };
        for inner in self.in_place(schema)? {
            let inner = self.reach(inner, above + 1)?;
            all.schemas += inner.schemas;
            all.depth = all.depth.max(inner.depth + 1);
            if all.schemas > MOST_SCHEMAS {
                return Err(SchemaError::TooWide);
            }
        }
        Ok(all)
    }

    fn in_place(&self, schema: &'a Value) -> Result<Vec<&'a Value>, SchemaError> {
        let Some(object) = schema.as_object() else {
            return Ok(Vec::new());
        };
        let is_said = |keyword: &&&str| object.get(**keyword).is_some_and(Value::is_string);
        if let Some(foreign) = FOREIGN.iter().find(is_said) {
            return Err(SchemaError::Keyword(foreign));
        }
        let mut inner: Vec<&Value> = ONE.iter().filter_map(|key| object.get(*key)).collect();
        let lists = LIST.iter().filter_map(|key| object.get(*key)?.as_array());
        inner.extend(lists.flatten());
        let named = NAMED.iter().filter_map(|key| object.get(*key)?.as_object());
        inner.extend(named.flat_map(Map::values));
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target = self.target(reference);
            inner.push(target.ok_or_else(|| SchemaError::Reference(reference.to_owned()))?);
        }
        Ok(inner)
    }

    fn target(&self, reference: &str) -> Option<&'a Value> {
        let fragment = percent_decode_str(reference.strip_prefix('#')?);
        self.root.pointer(&fragment.decode_utf8().ok()?)
    }
}
