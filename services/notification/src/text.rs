//! What a template says once its variables have values, and what it may name.
use std::collections::{BTreeMap, HashSet};

use caseward_core::{Error, Result};
use minijinja::{Environment, UndefinedBehavior};

/// The most that rendering one text may cost, in steps of the engine.
const FUEL: u64 = 50_000;

/// The longest text that comes out.
const LONGEST: usize = 40_000;

/// Renders `source`. A variable without a value is an error; the error names no value.
pub(crate) fn render(source: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let text = engine().render_str(source, values).map_err(|error| {
        Error::internal(format!("a template cannot be rendered: {:?}", error.kind()))
    })?;
    if text.len() > LONGEST {
        return Err(Error::internal("a template renders to too long a text"));
    }
    Ok(text)
}

/// The names that `source` wants from outside, or what is wrong with its syntax.
pub(crate) fn names(source: &str) -> Result<HashSet<String>, String> {
    let engine = engine();
    let template = engine.template_from_str(source).map_err(|error| {
        let line = error.line().unwrap_or(1);
        format!("is not a template: {}, line {line}", error.kind())
    })?;
    Ok(template.undeclared_variables(false))
}

/// Plain text needs no escapes; nothing is loaded from elsewhere.
fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(20);
    engine
}

/// One line, as a header wants it.
pub(crate) fn line(text: &str) -> String {
    text.split(char::is_control)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_missing_value_is_an_error_that_tells_nothing() {
        assert_eq!(render("Hi {{ who }}.", &values(&[("who", "Ada")])).unwrap(), "Hi Ada.");
        let error = render("{{ who }} {{ secret }}", &values(&[("who", "Ada")])).unwrap_err();
        assert!(!format!("{error:?}").contains("Ada"));
    }

    #[test]
    fn a_text_that_would_never_end_is_cut_off() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render(loops, &values(&[])).is_err());
    }

    #[test]
    fn names_are_what_comes_from_outside() {
        let found =
            names("{% set a = 1 %}{{ a }}{{ b }}{% if c %}{{ range(3) }}{% endif %}").unwrap();
        assert_eq!(found, ["b", "c", "range"].map(str::to_owned).into());
        assert!(names("{% if %}").is_err());
    }

    #[test]
    fn a_header_is_one_line() {
        assert_eq!(line("Plan\r\nBcc: x@y"), "Plan Bcc: x@y");
    }
}
