//! What a program finds in its environment: its attempt under documented names (S9).

use stem_core::clock::in_millis;
use stem_core::executor::Run;

/// The variables of an attempt. Of two headers whose names differ only in what a variable's name cannot have, the
/// first is given.
pub(super) fn of(run: &Run) -> Vec<(String, String)> {
    let facts = &run.facts;
    let mut variables = vec![
        ("STEM_ID", facts.id.to_string()),
        ("STEM_TASK", facts.task.to_string()),
        ("STEM_QUEUE", facts.queue.to_string()),
        ("STEM_ATTEMPT", facts.number.to_string()),
        ("STEM_MAX_ATTEMPTS", facts.max_attempts.to_string()),
        ("STEM_DELIVERY", facts.delivery.to_string()),
        ("STEM_ENQUEUED_AT", facts.enqueued_at.to_string()),
        ("STEM_CONTENT_TYPE", run.payload.content_type.clone()),
        (
            "STEM_HARD_TIME_LIMIT_MS",
            in_millis(run.limits.hard_time).to_string(),
        ),
    ];
    if let Some(soft) = run.limits.soft_time {
        variables.push(("STEM_SOFT_TIME_LIMIT_MS", in_millis(soft).to_string()));
    }
    let mut variables: Vec<(String, String)> = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let attributes = facts.attributes.iter();
    let attributes = attributes.map(|(name, value)| (named("STEM_ATTRIBUTE_", name), value));
    let headers = facts.headers.iter();
    let headers = headers.map(|(name, value)| (named("STEM_HEADER_", name.as_str()), value));
    for (name, value) in attributes.chain(headers) {
        if !variables.iter().any(|(known, _)| *known == name) {
            variables.push((name, value.clone()));
        }
    }
    variables
}

fn named(prefix: &str, name: &str) -> String {
    let letters = name.chars().map(|letter| match letter {
        _ if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
        _ => '_',
    });
    prefix.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S9
    #[test]
    fn a_headers_variable_has_capital_letters_digits_and_lines() {
        assert_eq!(
            named("STEM_HEADER_", "x-Tenant.id:7"),
            "STEM_HEADER_X_TENANT_ID_7"
        );
    }
}
