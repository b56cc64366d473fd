//! Environment variables: those that a deployment names, and never one of the host's own (S2).

use stem_core::grants::Grants;

const LONGEST_NAME: usize = 256;

pub(super) fn check(grants: &Grants) -> Result<(), String> {
    for (name, value) in &grants.environment {
        let is_one = |character: char| character != '=' && !character.is_control();
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_one) {
            return Err(format!(
                "`{}` is no name of an environment variable: use 1 to {LONGEST_NAME} bytes without `=` and control characters",
                name.escape_debug()
            ));
        }
        if value.contains('\0') {
            return Err(format!(
                "the value of `{name}` in `environment` has a zero byte: no environment variable can carry one"
            ));
        }
        super::check_size("environment", name, value)?;
    }
    super::check_sum("environment", grants.environment.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        check(&Grants {
            environment: [(name.to_owned(), value.to_owned())].into(),
            ..Grants::default()
        })
    }

    /// S2
    #[test]
    fn what_no_environment_can_carry_is_refused_by_name() {
        assert_eq!(checked("LANG", "C.UTF-8"), Ok(()));
        for name in ["", "A=B", "A\0B", "A\nB"] {
            let said = checked(name, "1").expect_err("refused");
            assert!(
                said.contains("no name of an environment variable"),
                "{said}"
            );
        }
        let said = checked("A", "x\0y").expect_err("refused");
        assert!(said.starts_with("the value of `A`"), "{said}");
    }
}
