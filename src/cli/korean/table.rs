//! The Korean texts of the help: `help.ko.txt`, whose first lines tell its format.

use std::sync::LazyLock;

const TEXT: &str = include_str!("../help.ko.txt");
/// Arguments that many commands have.
const COMMON: &str = "*";
/// The command that clap adds to each command with subcommands.
const HELP: &str = "help";

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(TEXT));

/// All pages of the help.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub pages: Vec<Page>,
    /// Lines that have no meaning in the format. A test holds that there are none.
    pub unread: Vec<&'static str>,
}

/// The help of one command.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Words of the command without the program's name; `ropewalk` for the program.
    pub path: &'static str,
    pub about: &'static str,
    pub arguments: Vec<Argument>,
    /// Examples and notes below the arguments, as they are printed.
    pub after: String,
}

/// The help of one argument.
#[derive(Debug)]
pub(super) struct Argument {
    /// The field's name in `args`.
    pub id: &'static str,
    /// The name of its value; `None` for a flag.
    pub value: Option<&'static str>,
    pub help: &'static str,
    /// Values that are explained one by one, each with its text.
    pub values: Vec<(&'static str, &'static str)>,
}

impl Table {
    fn parse(text: &'static str) -> Table {
        let mut table = Table::default();
        let mut is_after = false;
        for line in text.lines() {
            if let Some(path) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table.pages.push(Page { path, ..Page::default() });
                is_after = false;
            } else if let (true, Some(page)) = (is_after, table.pages.last_mut()) {
                page.after.push_str(line);
                page.after.push('\n');
            } else if line == "---" {
                is_after = true;
            } else if !line.is_empty() && !line.starts_with('#') && table.read(line).is_none() {
                table.unread.push(line);
            }
        }
        table
    }

    /// Reads a line above the examples into the last page.
    fn read(&mut self, line: &'static str) -> Option<()> {
        let page = self.pages.last_mut()?;
        if let Some(rest) = line.strip_prefix('@') {
            let (name, help) = rest.split_once(": ")?;
            let (id, value) = match name.split_once(" <") {
                Some((id, value)) => (id, Some(value.strip_suffix('>')?)),
                None => (name, None),
            };
            page.arguments.push(Argument { id, value, help, values: Vec::new() });
        } else if let Some(rest) = line.strip_prefix('=') {
            page.arguments.last_mut()?.values.push(rest.split_once(": ")?);
        } else if page.about.is_empty() {
            page.about = line;
        } else {
            return None;
        }
        Some(())
    }

    fn page(&self, path: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.path == path)
    }
}

/// All pages.
#[cfg(test)]
pub(super) fn table() -> &'static Table {
    &TABLE
}

/// The page of a command. `lab help` has that of `help`.
pub(super) fn page(path: &str) -> Option<&'static Page> {
    let path = if path.rsplit(' ').next() == Some(HELP) { HELP } else { path };
    TABLE.page(path)
}

/// The text of a command's argument, and the path of the page that has it: the command's own page,
/// else that of a parent, whose global arguments a subcommand takes, else the common one. The
/// session's options stand with the program.
pub(super) fn argument(path: &str, id: &str) -> Option<(&'static str, &'static Argument)> {
    let parents = path.match_indices(' ').rev().map(|(at, _)| &path[..at]);
    let mut pages = [path].into_iter().chain(parents).chain([super::PROGRAM, COMMON]);
    pages.find_map(|path| {
        let page = TABLE.page(path)?;
        page.arguments.iter().find(|argument| argument.id == id).map(|argument| (page.path, argument))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_meaning_are_kept_for_the_author() {
        let table =
            Table::parse("[a]\nabout\nabout again\n@x <v>: text\n=one: first\n@odd\n---\n@b: as it is\n");
        let page = table.page("a").unwrap();
        assert_eq!((page.about, page.after.as_str()), ("about", "@b: as it is\n"));
        let argument = &page.arguments[0];
        assert_eq!((argument.id, argument.value, argument.help), ("x", Some("v"), "text"));
        assert_eq!(argument.values, [("one", "first")]);
        assert_eq!(table.unread, ["about again", "@odd"]);
    }

    #[test]
    fn a_subcommand_takes_its_parents_texts() {
        assert_eq!(argument("lab check", "labs").map(|(page, _)| page), Some("lab"));
        assert_eq!(argument("lab start", "seed").map(|(page, _)| page), Some("lab start"));
        assert_eq!(argument("learn", "plain").map(|(page, _)| page), Some(super::super::PROGRAM));
        assert_eq!(argument("status", "output").map(|(page, _)| page), Some(COMMON));
        assert!(argument("status", "nothing").is_none());
        assert_eq!(page("lab help").map(|page| page.path), Some(HELP));
    }
}
