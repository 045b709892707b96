//! Types whose values nobody reads by accident: in a log, a span, a panic, an error.
use std::fmt;

/// A type that prints its name and nothing of what it holds. Rows, what they keep as JSON, and the messages of the
/// contracts do; a table whose rows do not is no `Resource`.
///
/// ```
/// #[derive(Clone)]
/// struct Note {
///     text: String,
/// }
/// caseward_core::confidential!(Note);
///
/// let note = Note { text: "lives alone".to_owned() };
/// assert_eq!(format!("{note:?}"), "Note { .. }");
/// ```
///
/// ```compile_fail,E0277
/// #[derive(Debug)]
/// struct Note {
///     text: String,
/// }
/// fn keep(_: impl caseward_core::Confidential) {}
///
/// keep(Note { text: "lives alone".to_owned() });
/// ```
pub trait Confidential: fmt::Debug {}

/// Makes a type [`Confidential`]. It does not derive `Debug`.
#[macro_export]
macro_rules! confidential {
    ($type:ty) => {
        impl $crate::Confidential for $type {}
        impl ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    };
}
