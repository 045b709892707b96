//! Path templates of `google.api.http`: parsed once, matched segment by segment.
use std::{borrow::Cow, ops::Range};

/// A parsed template, such as `/v1/{name=cases/*/carePlans/*}:approve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) verb: Option<String>,
}

// The order is the order of precedence: a path that fits two templates goes to the more literal one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Literal(String),
    /// `*`: exactly one segment.
    One,
    /// `**`: what is left, also nothing.
    Rest,
}

/// A field of the request, and the segments that are its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// As in the proto, such as `patient.name`.
    pub(crate) field: String,
    pub(crate) span: Range<usize>,
}

/// The path of a request: its segments decoded, its verb apart.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    segments: Vec<Cow<'a, str>>,
    verb: Option<&'a str>,
}

impl Template {
    /// `None` where the text is not a template.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('/')?;
        let mut template = Template { segments: vec![], variables: vec![], verb: None };
        loop {
            if let Some(inner) = rest.strip_prefix('{') {
                let (variable, after) = inner.split_once('}')?;
                template.variable(variable)?;
                rest = after;
            } else {
                let end = rest.find(['/', ':']).unwrap_or(rest.len());
                template.segments.push(Segment::parse(&rest[..end])?);
                rest = &rest[end..];
            }
            if let Some(after) = rest.strip_prefix('/') {
                rest = after;
                continue;
            }
            if let Some(verb) = rest.strip_prefix(':') {
                literal(verb)?;
                template.verb = Some(verb.into());
            } else if !rest.is_empty() {
                return None;
            }
            // What follows a `**` could never be told from what it takes.
            let rests =
                template.segments.iter().rev().skip(1).any(|segment| *segment == Segment::Rest);
            return (!rests).then_some(template);
        }
    }

    fn variable(&mut self, text: &str) -> Option<()> {
        let (field, pattern) = text.split_once('=').unwrap_or((text, "*"));
        if !field.split('.').all(is_identifier) || self.variables.iter().any(|v| v.field == field) {
            return None;
        }
        let start = self.segments.len();
        for segment in pattern.split('/') {
            self.segments.push(Segment::parse(segment)?);
        }
        self.variables.push(Variable { field: field.into(), span: start..self.segments.len() });
        Some(())
    }

    /// Whether it takes any number of segments.
    pub(crate) fn is_open(&self) -> bool {
        self.segments.last() == Some(&Segment::Rest)
    }

    pub(crate) fn fits(&self, path: &Path<'_>) -> bool {
        if self.verb.as_deref() != path.verb {
            return false;
        }
        let fixed = self.segments.len() - usize::from(self.is_open());
        let enough = if self.is_open() { path.len() >= fixed } else { path.len() == fixed };
        enough
            && self.segments.iter().zip(&path.segments).all(|(segment, given)| match segment {
                Segment::Literal(literal) => literal == given,
                Segment::One | Segment::Rest => true,
            })
    }

    /// The value of every variable, of a path that fits.
    pub(crate) fn captures<'t>(&'t self, path: &Path<'_>) -> Vec<(&'t str, String)> {
        self.variables
            .iter()
            .map(|variable| {
                let open = self.is_open() && variable.span.end == self.segments.len();
                let end = if open { path.len() } else { variable.span.end };
                let span = path.segments.get(variable.span.start..end).unwrap_or_default();
                (variable.field.as_str(), span.join("/"))
            })
            .collect()
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Segment::One),
            "**" => Some(Segment::Rest),
            _ => literal(text).map(|literal| Segment::Literal(literal.into())),
        }
    }
}

impl<'a> Path<'a> {
    /// `None` for the odd forms that no template fits: empty segments, dots, an encoded slash or control.
    ///
    /// A colon in the last segment begins a verb; one that belongs to a value is written `%3A`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        let head = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (rest, verb) = match rest[head..].rfind(':') {
            Some(colon) => (&rest[..head + colon], Some(&rest[head + colon + 1..])),
            None => (rest, None),
        };
        let segments = rest.split('/').map(decode).collect::<Option<Vec<_>>>()?;
        Some(Path { segments, verb })
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    let decoded = percent_decoded(segment, false)?;
    let odd = matches!(&*decoded, "" | "." | "..")
        || decoded.contains(|c: char| c == '/' || c.is_control());
    (!odd).then_some(decoded)
}

/// The text without its `%XX`; `plus` is for queries, where `+` is a space.
pub(crate) fn percent_decoded(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    let escaped = text.contains('%') || plus && text.contains('+');
    if !escaped {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn literal(text: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then_some(text)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let path = Path::parse(path)?;
        let owned = |(field, value): (&str, String)| (String::from(field), value);
        template.fits(&path).then(|| template.captures(&path).into_iter().map(owned).collect())
    }

    fn one(field: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(field.into(), value.into())])
    }

    #[test]
    fn a_variable_spans_literals_and_wildcards() {
        let template = "/v1/{name=cases/*/carePlans/*}:approve";
        assert_eq!(
            captured(template, "/v1/cases/1/carePlans/2:approve"),
            one("name", "cases/1/carePlans/2")
        );
        assert_eq!(captured(template, "/v1/cases/1/carePlans/2"), None);
        assert_eq!(captured(template, "/v1/cases/1/carePlans/2:reject"), None);
        assert_eq!(captured(template, "/v1/cases/1/goals/2:approve"), None);
    }

    #[test]
    fn nested_fields_plain_variables_and_open_ends() {
        assert_eq!(
            captured("/v1/{patient.name=patients/*}", "/v1/patients/7"),
            one("patient.name", "patients/7")
        );
        assert_eq!(captured("/v1/clock/{zone}", "/v1/clock/UTC"), one("zone", "UTC"));
        assert_eq!(captured("/v1/{path=files/**}", "/v1/files/a/b/c"), one("path", "files/a/b/c"));
        assert_eq!(captured("/v1/{path=files/**}", "/v1/files"), one("path", "files"));
        let two = captured("/v1/{parent=cases/*}/notes/{note}", "/v1/cases/1/notes/2").unwrap();
        assert_eq!(two, [("parent".into(), "cases/1".into()), ("note".into(), "2".into())]);
    }

    #[test]
    fn odd_paths_fit_nothing() {
        for path in [
            "",
            "v1/patients/7",
            "/",
            "//",
            "/v1//7",
            "/v1/patients/",
            "/v1/patients/7/",
            "/v1/patients/..",
            "/v1/patients/%2e%2e",
            "/v1/patients/a%2Fb",
            "/v1/patients/%00",
            "/v1/patients/%zz",
            "/v1/patients/%",
            "/V1/patients/7",
            "/v1/Patients/7",
            "/v1/patients/%ff",
            "/v1/patients/7:",
            "/v1/patients/:x",
        ] {
            assert_eq!(captured("/v1/{name=patients/*}", path), None, "{path}");
        }
        assert_eq!(
            captured("/v1/{name=patients/*}", "/v1/patients/a%3Ab"),
            one("name", "patients/a:b")
        );
    }

    #[test]
    fn what_is_not_a_template_is_refused() {
        for text in [
            "",
            "v1",
            "/",
            "/v1//x",
            "/v1/{",
            "/v1/}",
            "/v1/{}",
            "/v1/{=a}",
            "/v1/{a=}",
            "/v1/{a..b}",
            "/v1/{a=**}/b",
            "/v1/{a}x",
            "/v1/x:",
            "/v1/x:y:z",
            "/v1/x:y/z",
            "/v1/{a={b}}",
            "/v1/{a}/{a}",
            "/v1/***",
            "/v1/ä",
        ] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic() {
        // Every string of up to five of the characters that mean something, and one that is two bytes long.
        let alphabet = ['/', '{', '}', '=', '*', ':', '.', '%', 'a', '2', 'ä'];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer: Vec<_> =
                texts.iter().flat_map(|text| alphabet.map(|c| format!("{text}{c}"))).collect();
            for text in &longer {
                let (template, path) = (Template::parse(&format!("/{text}")), Path::parse(text));
                if let (Some(template), Some(path)) = (template, path)
                    && template.fits(&path)
                {
                    template.captures(&path);
                }
            }
            texts = longer;
        }
    }
}
