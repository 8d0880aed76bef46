//! The Markdown part: an introduction, a section a step, and a closing section. What stands below
//! the line `<!-- after -->` of a section is shown once the step's question is answered.

use super::text::Fault;
use std::path::Path;

/// The line of a section below which an answer may stand.
pub(crate) const AFTER: &str = "<!-- after -->";
/// The id of the section that ends a lesson.
pub(crate) const CLOSING: &str = "end";

/// A section with an id: `## Run it {#run}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub id: String,
    pub heading: String,
    /// Without its heading line, up to the mark [`AFTER`].
    pub text: String,
    /// What stands below the mark.
    pub after: String,
    /// Of its heading, from 1.
    pub line: usize,
}

/// Splits a file into its front matter, the line that this begins on, the rest, and the line that
/// the rest begins on.
///
/// # Errors
/// The front matter does not begin on the first line, or does not end.
pub(crate) fn split<'a>(text: &'a str, file: &Path) -> Result<(&'a str, usize, &'a str, usize), Fault> {
    let fault = |what: &str| Fault { file: file.into(), line: 1, what: what.into() };
    let fence = |line: &str| line.trim_end() == "---";
    let mut lines = text.split_inclusive('\n');
    let opening = lines.next().filter(|l| fence(l));
    let opening =
        opening.ok_or_else(|| fault("the file has to begin with a line ---, and its front matter"))?;
    let mut front = 0;
    for (at, line) in lines.enumerate() {
        if fence(line) {
            let rest = &text[opening.len()..];
            return Ok((&rest[..front], 2, &rest[front + line.len()..], at + 3));
        }
        front += line.len();
    }
    Err(fault("the front matter does not end: a line --- is missing"))
}

/// Reads the introduction (without the `# Title` line) and the sections. `first` is the line that
/// `text` begins on.
///
/// # Errors
/// A heading names no step, or [`AFTER`] stands twice in a section or in none.
pub(crate) fn sections(text: &str, first: usize, file: &Path) -> Result<(String, Vec<Section>), Fault> {
    let (mut intro, mut all, mut fence) = (String::new(), Vec::<Section>::new(), false);
    let mut is_after = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fence = !fence;
        }
        let heading = line.strip_prefix("## ").filter(|_| !fence);
        match heading {
            Some(heading) => {
                let cut = heading.trim_end().strip_suffix('}').and_then(|h| h.rsplit_once("{#"));
                let Some((heading, id)) = cut else {
                    let what = format!("the section {heading:?} names no step; write ## {heading} {{#step}}");
                    return Err(Fault { file: file.into(), line: first + at, what });
                };
                let (heading, id) = (heading.trim().to_string(), id.to_string());
                is_after = false;
                let (text, after) = (String::new(), String::new());
                all.push(Section { id, heading, text, after, line: first + at });
            }
            None if line.trim() == AFTER && !fence => {
                if is_after || all.is_empty() {
                    let what = format!("{AFTER} stands once in the section of a step");
                    return Err(Fault { file: file.into(), line: first + at, what });
                }
                is_after = true;
            }
            None if line.starts_with("# ") && !fence => {}
            None => {
                let into = match all.last_mut() {
                    None => &mut intro,
                    Some(section) if is_after => &mut section.after,
                    Some(section) => &mut section.text,
                };
                into.push_str(line);
                into.push('\n');
            }
        }
    }
    for section in &mut all {
        section.text = section.text.trim().to_string();
        section.after = section.after.trim().to_string();
    }
    Ok((intro.trim().to_string(), all))
}

/// Takes the closing section out, which stands last; empty if there is none.
pub(crate) fn closing(sections: &mut Vec<Section>) -> String {
    sections.pop_if(|last| last.id == CLOSING).map_or_else(String::new, |last| last.text)
}

/// Code blocks as (language, text).
pub(crate) fn code_blocks(markdown: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in markdown.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(lang) if !open => {
                blocks.push((lang.trim().to_string(), String::new()));
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                if let Some((_, text)) = blocks.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            None => {}
        }
    }
    blocks
}

/// Lines of the blocks that a shell can run.
pub fn sh_blocks(markdown: &str) -> Vec<Vec<String>> {
    let shell = |(lang, _): &(String, String)| lang == "sh" || lang == "console";
    code_blocks(markdown)
        .into_iter()
        .filter(shell)
        .map(|(_, text)| text.lines().map(String::from).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stands_below_its_mark_and_the_closing_section_last() {
        let text = "Why.\n## One {#one}\nbefore\n\n<!-- after -->\n\n```yaml\n<!-- after -->\n```\n## Two {#two}\nall\n## You can now {#end}\ntell.\n";
        let (intro, mut all) = sections(text, 1, Path::new("f")).unwrap();
        assert_eq!((intro.as_str(), closing(&mut all).as_str()), ("Why.", "tell."));
        let parts: Vec<_> = all.iter().map(|s| (s.id.as_str(), s.text.as_str(), s.after.as_str())).collect();
        assert_eq!(parts, [("one", "before", "```yaml\n<!-- after -->\n```"), ("two", "all", "")]);
        assert_eq!(closing(&mut all), "", "a step of another name");
        for odd in ["<!-- after -->\n", "## One {#one}\n<!-- after -->\n<!-- after -->\n"] {
            let fault = sections(odd, 5, Path::new("f")).unwrap_err();
            assert!(fault.what.contains("stands once"), "{fault:?}");
        }
    }

    #[test]
    fn front_matter_ends_at_its_own_line_wherever_that_stands() {
        let read = |text| split(text, Path::new("f")).map_err(|f| f.what);
        assert_eq!(read("---\na: 1\nb: 2\n---\n# T\n"), Ok(("a: 1\nb: 2\n", 2, "# T\n", 5)));
        assert_eq!(read("--- \na: ' ---'\n---"), Ok(("a: ' ---'\n", 2, "", 4)));
        assert_eq!(read("---\na: |\n  ---\n---\n"), Ok(("a: |\n  ---\n", 2, "", 5)));
        assert_eq!(read("---\n---\nx"), Ok(("", 2, "x", 3)));
        assert!(read("---\na: 1\n----\n").unwrap_err().contains("does not end"));
        assert!(read("").unwrap_err().contains("has to begin"));
        assert!(read("# A lesson\n---\n").unwrap_err().contains("has to begin"));
    }
}
