//! Here-documents inside `$(…)`. The parser's grammar of words knows none, and trips over a quote
//! or a bracket in their text.

/// What stands for a character of such a command while a word is parsed: noncharacters, as in
/// [`super::apostrophes`].
const STAND_INS: [(char, char); 8] = [
    ('\'', '\u{fde0}'),
    ('"', '\u{fde1}'),
    ('(', '\u{fde2}'),
    (')', '\u{fde3}'),
    ('`', '\u{fde4}'),
    ('$', '\u{fde5}'),
    ('\\', '\u{fde6}'),
    ('#', '\u{fde7}'),
];

/// Returns the word with stand-ins in each `$(…)` that has a here-document; `None` if there is
/// none.
pub(super) fn hidden(word: &str) -> Option<String> {
    if !word.contains("$(") || !word.contains("<<") {
        return None;
    }
    let hide = |c| STAND_INS.iter().find(|(plain, _)| *plain == c).map_or(c, |(_, stand_in)| *stand_in);
    let (mut out, mut rest, mut quoted, mut found) = (String::with_capacity(word.len()), word, false, false);
    while let Some(c) = rest.chars().next() {
        if let Some(command) = rest.strip_prefix("$(").filter(|command| !command.starts_with('('))
            && let Some(end) = end_of_command(command)
            && command[..end].contains("<<")
        {
            out.push_str("$(");
            out.extend(command[..end].chars().map(hide));
            (rest, found) = (&command[end..], true);
            continue;
        }
        let taken = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '\'' if !quoted => rest[1..].find('\'').map_or(rest.len(), |at| at + 2),
            c => c.len_utf8(),
        };
        quoted ^= c == '"';
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    found.then_some(out)
}

/// Returns a command with the characters that were hidden.
pub(super) fn shown(command: &str) -> String {
    let show = |c| STAND_INS.iter().find(|(_, stand_in)| *stand_in == c).map_or(c, |(plain, _)| *plain);
    command.chars().map(show).collect()
}

/// Returns where the `)` is that ends the command at the beginning of a text.
fn end_of_command(text: &str) -> Option<usize> {
    // Open brackets and double quotes, and the documents that begin at the next newline.
    let (mut open, mut documents): (Vec<u8>, Vec<(String, bool)>) = (Vec::new(), Vec::new());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let quoted = open.last() == Some(&b'"');
        match byte {
            b'\\' => at += 1,
            b'"' if quoted => drop(open.pop()),
            b'"' => open.push(b'"'),
            b'(' if !quoted || bytes.get(at.wrapping_sub(1)) == Some(&b'$') => open.push(b'('),
            _ if quoted => {}
            b'\'' => at += 1 + text.get(at + 1..)?.find('\'')?,
            b'#' if at == 0 || b" \t\n;|&(".contains(&bytes[at - 1]) => {
                at += text[at..].find('\n')?;
                continue;
            }
            b')' if open.is_empty() => return Some(at),
            b')' => drop(open.pop()),
            // Two open brackets are a sum, where `<<` is a shift.
            b'<' if text[at..].starts_with("<<") && !open.ends_with(b"((") => {
                let (document, length) = document(&text[at + 2..]);
                documents.extend(document);
                at += 2 + length;
                continue;
            }
            b'\n' => {
                for (end, tabs) in documents.drain(..) {
                    at += length_of_document(text.get(at + 1..)?, &end, tabs)?;
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the word that ends the document whose `<<` stands before `text`, whether its tabs are
/// left out, and the bytes that say so. No document for `<<<`.
fn document(text: &str) -> (Option<(String, bool)>, usize) {
    if text.starts_with('<') {
        return (None, 1);
    }
    let behind = text.strip_prefix('-').unwrap_or(text);
    let word = behind.trim_start_matches([' ', '\t']);
    let end = word.find([' ', '\t', '\n', ';', '|', '&', '<', '>', '(', ')']).unwrap_or(word.len());
    let name: String = word[..end].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
    (Some((name, text.starts_with('-'))), text.len() - word.len() + end)
}

/// Returns the bytes of a document's lines with the one that ends it, without the last newline.
fn length_of_document(text: &str, end: &str, tabs: bool) -> Option<usize> {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        length += line.len();
        let line = line.trim_end_matches('\n');
        if end == if tabs { line.trim_start_matches('\t') } else { line } {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_behind_its_documents() {
        for (text, end) in [
            ("echo a) b", "echo a"),
            ("cat <<E\nit's ) \"\nE\n) b", "cat <<E\nit's ) \"\nE\n"),
            ("cat <<-'E'; cat <<F\n)\n\tE\n(\nF\n)", "cat <<-'E'; cat <<F\n)\n\tE\n(\nF\n"),
            ("echo $((1 << 2)) <<<a $(b) # )\n)", "echo $((1 << 2)) <<<a $(b) # )\n"),
            ("echo \")$(a)\" ')')", "echo \")$(a)\" ')'"),
        ] {
            assert_eq!(end_of_command(text).map(|at| &text[..at]), Some(end), "{text}");
        }
        assert_eq!(end_of_command("cat <<E\n)\n"), None);
    }

    #[test]
    fn only_commands_with_documents_are_hidden() {
        let word = "\"a$(cat <<E\nit's \"q\" (\nE\n)b\"'$('";
        let text = hidden(word).unwrap();
        assert!(!text[..text.len() - 4].contains(['\'', '#']) && text.matches('"').count() == 2);
        assert_eq!(shown(&text), word);
        for word in ["$(echo '<<')x", "$((1<<2))", "'$(cat <<E\nE\n)'", "a<<b"] {
            let same = hidden(word).is_none_or(|text| shown(&text) == word);
            assert!(same, "{word}");
        }
        assert_eq!(hidden("'$(cat <<E\nE\n)'"), None);
    }
}
