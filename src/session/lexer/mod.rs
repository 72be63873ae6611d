//! What a statement's text gives away about session state.
//!
//! In transaction pooling the relay streams every statement past a [`Lexer`], in whatever chunks
//! it comes, and asks at the end whether the statement may leave state behind in its server. The
//! answer, [`Facts`], is a hint: it names what the text names. It knows no catalog and no server;
//! what a function or a trigger does out of sight is not in the text and not in the facts.
//!
//! Three layers: [`Lexer`] turns bytes into tokens by PostgreSQL's lexical rules (`scan.l`),
//! `reader` turns tokens into hints, `body` reads quoted code word by word.

mod body;
mod call;
mod dotted;
mod facts;
mod hints;
mod key;
mod reader;
mod recall;
mod scan;
mod setting;
mod target;
mod verb;
mod word;
mod words;

#[cfg(test)]
mod tests;

pub use body::{body_hints, body_settings};
pub use facts::Facts;
pub use hints::Hints;
pub use recall::Recall;
pub use scan::Lexer;
pub use setting::PARSED_BY;
pub use target::{Target, TargetKind};
pub use verb::Verb;
pub use word::NAME_BYTES_MAX;
pub use words::Words;
