//! What a template says once its variables have values, and what it may name.
use std::collections::{BTreeMap, HashSet};

use caseward_core::{Error, Result};
use minijinja::{
    Environment, UndefinedBehavior,
    machinery::{Token, WhitespaceConfig, tokenize},
    syntax::SyntaxConfig,
};

/// The most that rendering one text may cost, in steps of the engine.
const FUEL: u64 = 50_000;

/// The longest text that comes out.
pub(crate) const LONGEST: usize = 40_000;

/// The most tokens within one pair of braces, and the most `elif` in one text: the engine goes a frame deeper for each,
/// when it parses, compiles and drops, and has no limit of its own there. A stack that overflows ends the process.
const TOKENS: usize = 64;
const ELIFS: usize = 32;

/// What begins a block.
const BLOCKS: [&str; 4] = ["if", "elif", "else", "endif"];

/// What may follow a `|`. None makes more than a few times as much of its value.
const FILTERS: [&str; 7] = ["capitalize", "default", "length", "lower", "title", "trim", "upper"];

/// Renders `source`. A variable without a value is an error; the error names no value.
pub(crate) fn render(source: &str, values: &BTreeMap<String, String>) -> Result<String> {
    plain(source)
        .map_err(|why| Error::internal(format!("a template cannot be rendered: {why}")))?;
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
    plain(source)?;
    let engine = engine();
    let template = engine.template_from_str(source).map_err(|error| unreadable(&error))?;
    Ok(template.undeclared_variables(false))
}

/// Refuses all of Jinja but names, conditions and a few filters. The engine counts steps, not what a step makes: a text
/// that is joined to itself thirty times over, in `set` or by an operator, fills the memory.
fn plain(source: &str) -> Result<(), String> {
    let (mut tokens, mut elifs) = (0, 0);
    let (mut after_block, mut after_pipe) = (false, false);
    let whitespace = WhitespaceConfig::default();
    for token in tokenize(source, false, SyntaxConfig, whitespace) {
        let (token, span) = token.map_err(|error| unreadable(&error))?;
        let refused = |what: &str| Err(format!("{what}, line {}", span.start_line));
        let (block, pipe) = (after_block, after_pipe);
        (after_block, after_pipe) = (false, false);
        tokens += 1;
        match token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => {
                tokens = 0;
                after_block = matches!(token, Token::BlockStart);
            }
            Token::Ident(name) if block && !BLOCKS.contains(&name) => {
                return refused("wants `if`, `elif`, `else` or `endif` where a block begins");
            }
            Token::Ident(name) if pipe && !FILTERS.contains(&name) => {
                return refused(&format!("wants a filter of {}", FILTERS.join(", ")));
            }
            Token::Ident(name) => elifs += usize::from(block && name == "elif"),
            Token::Pipe => after_pipe = true,
            Token::VariableEnd
            | Token::BlockEnd
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte
            | Token::ParenOpen
            | Token::ParenClose => {}
            other => return refused(&format!("must hold names and conditions only, no {other}")),
        }
        if tokens > TOKENS || elifs > ELIFS {
            return refused("is too long an expression, or has too many `elif`");
        }
    }
    Ok(())
}

fn unreadable(error: &minijinja::Error) -> String {
    let line = error.line().unwrap_or(1);
    format!("is not a template: {}, line {line}", error.kind())
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
    fn a_text_that_would_fill_the_memory_or_the_stack_is_refused_before_it_is_read() {
        let deep =
            |begin: &str, step: &str, end: &str| format!("{begin}{}{end}", step.repeat(1900));
        for text in [
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"
                .to_owned(),
            deep("{% set a = who ~ who %}", "{%set a=a~a%}", ""),
            deep("{% set a %}", "{%set a%}{{a}}{{a}}{%endset%}", "{% endset %}"),
            deep("{{ who", " and who", " }}"),
            deep("{{ who", "|e", " }}"),
            deep("{{ who", "|upper", " }}"),
            deep("{{ who", ".a", " }}"),
            deep("{{ 1", "+1", " }}"),
            deep("{{ ", "not ", "who }}"),
            deep("{{ who", " if who else who", " }}"),
            deep("{{ ", "(", "who }}"),
            deep("{% if who %}", "{%elif who%}", "{% endif %}"),
            deep("", "{%if who%}", ""),
            "{{ who * 9999999 }}".to_owned(),
            "{{ who|replace('', who) }}".to_owned(),
            "{{ who|indent(999999999) }}".to_owned(),
            "{% macro m() %}{{ m() }}{% endmacro %}".to_owned(),
        ] {
            assert!(names(&text).is_err(), "{text:.60}");
            assert!(render(&text, &values(&[("who", "Ada")])).is_err(), "{text:.60}");
        }
    }

    #[test]
    fn a_text_has_names_conditions_and_a_few_filters() {
        let text = "{% if who and what != \"b\" %}{{ who|upper }}{% elif not what %}\
                    {{ what|default(\"~ * +1\") }}{% else %}{{ 'no' if what else \"yes\" }}{% endif %} ~ 2 * 2 + 2";
        let found = names(text).unwrap();
        assert_eq!(found, ["who", "what"].map(str::to_owned).into());
        let rendered = render(text, &values(&[("who", "Ada"), ("what", "c")])).unwrap();
        assert_eq!(rendered, "ADA ~ 2 * 2 + 2");
    }

    #[test]
    fn names_are_what_comes_from_outside() {
        let found = names("{{ b }}{% if c %}{{ range(3) }}{% endif %}").unwrap();
        assert_eq!(found, ["b", "c", "range"].map(str::to_owned).into());
        assert!(names("{% if %}").is_err());
    }

    #[test]
    fn a_header_is_one_line() {
        assert_eq!(line("Plan\r\nBcc: x@y"), "Plan Bcc: x@y");
    }
}
