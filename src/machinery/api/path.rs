//! Where a value stands in an object: `spec.containers[0].name`. A walk over an object carries a
//! [`Path`] whose steps are borrowed; text is made of it only for an error. A path built for every
//! value would copy each key above a value once per value: under one long key a body of 3 MB would
//! make gigabytes.

use std::fmt;

/// Bytes of a path that are shown. What is longer is cut and ends with `…`.
pub const PATH_MAX: usize = 1024;

/// A place in an object, as a list of steps from the root.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The object itself.
    Root,
    /// A path that was made elsewhere.
    Text(&'a str),
    /// `.name`
    Field(&'a Path<'a>, &'a str),
    /// `[0]`
    Item(&'a Path<'a>, usize),
    /// `[name]`
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// Returns the path of a field: `.name`.
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }
    /// Returns the path of an item of a list, counted from 0: `[0]`.
    pub fn item(&'a self, index: usize) -> Path<'a> {
        Path::Item(self, index)
    }
    /// Returns the path of a value in a map: `[name]`.
    pub fn key(&'a self, name: &'a str) -> Path<'a> {
        Path::Key(self, name)
    }
    /// True for the object itself, before any step.
    pub fn is_root(&self) -> bool {
        matches!(self, Path::Root)
    }

    /// Appends the steps; stops soon after [`PATH_MAX`] bytes.
    fn write(&self, out: &mut String) {
        match self {
            Path::Root => {}
            Path::Text(text) => push(out, text),
            Path::Field(above, name) => {
                above.write(out);
                if !out.is_empty() {
                    push(out, ".");
                }
                push(out, name);
            }
            Path::Item(above, index) => {
                above.write(out);
                push(out, &format!("[{index}]"));
            }
            Path::Key(above, name) => {
                above.write(out);
                push(out, "[");
                push(out, name);
                push(out, "]");
            }
        }
    }
}

/// Appends as much of `text` as may still be shown, and one byte that says that there was more.
fn push(out: &mut String, text: &str) {
    let room = (PATH_MAX + 4).saturating_sub(out.len());
    out.push_str(&text[..text.floor_char_boundary(room)]);
}

/// `text`, or its first `most` bytes and `…`.
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&cut(out, PATH_MAX))
    }
}

impl From<Path<'_>> for String {
    fn from(path: Path<'_>) -> String {
        path.to_string()
    }
}

/// Unknown fields of one object that are listed; the others are only counted. As many as upstream's
/// strict decoder lists.
const UNKNOWN_MAX: usize = 100;

/// The unknown fields of an object, which were pruned: `spec.containers[0].foo`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnknownFields {
    shown: Vec<String>,
    /// The number of unknown fields that are not listed.
    beyond: usize,
}

impl UnknownFields {
    /// Adds one. Its path is made only if it is listed.
    pub fn add(&mut self, path: Path) {
        match self.shown.len() < UNKNOWN_MAX {
            true => self.shown.push(path.to_string()),
            false => self.beyond += 1,
        }
    }

    /// Adds those that were found in the field `name`.
    pub(crate) fn add_below(&mut self, name: &str, inner: UnknownFields) {
        for field in &inner.shown {
            self.add(Path::Text(name).field(field));
        }
        self.beyond += inner.beyond;
    }

    /// True if no field was unknown.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Returns how many unknown fields there are, listed or not.
    pub fn count(&self) -> usize {
        self.shown.len() + self.beyond
    }

    /// Returns the paths that are listed.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// Returns the paths that are listed, to be put in another order.
    pub fn shown_mut(&mut self) -> &mut [String] {
        &mut self.shown
    }

    /// Returns one line per field, as a strict decoder reports it.
    pub fn problems(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.shown.iter().map(|f| format!("unknown field {f:?}")).collect();
        lines.extend(more(self.beyond));
        lines
    }
}

/// Returns the line for unknown fields that are only counted.
pub fn more(fields: usize) -> Option<String> {
    match fields {
        0 => None,
        1 => Some("1 more unknown field".to_string()),
        n => Some(format!("{n} more unknown fields")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_upstreams_and_have_a_bound() {
        let spec = Path::Root.field("spec");
        assert_eq!(spec.field("list").item(3).key("k").to_string(), "spec.list[3][k]");
        assert_eq!(Path::Text("spec.versions[0]").field("name").to_string(), "spec.versions[0].name");
        assert_eq!(Path::Root.to_string(), "");
        let exact = "x".repeat(PATH_MAX);
        assert_eq!(Path::Root.field(&exact).to_string(), exact);
        let long = "é".repeat(1 << 20);
        let text = Path::Root.field(&long).field("a").to_string();
        assert!(text.ends_with("é…") && text.len() <= PATH_MAX + 3, "{}", text.len());
    }

    #[test]
    fn unknown_fields_are_told_up_to_a_bound_and_counted_beyond() {
        let mut all = UnknownFields::default();
        (0..UNKNOWN_MAX + 7).for_each(|n| all.add(Path::Root.item(n)));
        assert_eq!((all.shown().len(), all.count()), (UNKNOWN_MAX, UNKNOWN_MAX + 7));
        assert_eq!(all.problems().last().unwrap(), "7 more unknown fields");
    }
}
