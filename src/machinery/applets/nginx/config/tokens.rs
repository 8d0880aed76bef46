//! The words of nginx' configuration language, with their lines.

/// What is wrong, in nginx' words, and in which line.
pub(super) type Fault = (String, usize);

/// Splits a configuration into words, `{`, `}` and `;`, with their lines. Quotes hold a word
/// together, over lines too; `#` starts a comment.
pub(super) fn split_tokens(text: &str) -> Result<Vec<(String, usize)>, Fault> {
    let mut found = Vec::new();
    let (mut line, mut quote) = (1, None);
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let at = line;
        line += usize::from(c == '\n');
        match (quote, c) {
            (_, '\\') => {
                let into = word.get_or_insert_default();
                match chars.next() {
                    Some('n') => into.push('\n'),
                    Some('t') => into.push('\t'),
                    Some('r') => into.push('\r'),
                    Some(c @ ('"' | '\'' | '\\')) => into.push(c),
                    other => {
                        into.push('\\');
                        into.extend(other);
                    }
                }
            }
            (Some(q), _) if c == q => {
                quote = None;
                let behind = chars.peek().copied();
                let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '{' | ')');
                if let Some(c) = behind.filter(|c| !ends(*c)) {
                    return Err((format!("unexpected \"{c}\""), line));
                }
            }
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') if word.is_none() => {
                quote = Some(c);
                word = Some(String::new());
            }
            (None, '#') if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, '{') if word.as_ref().is_some_and(|w| w.ends_with('$')) => {
                // `${name}`
                let into = word.get_or_insert_default();
                into.push('{');
                while let Some(c) = chars.next_if(|c| !matches!(c, '\n' | ';')) {
                    into.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            (None, '{' | '}' | ';') => {
                found.extend(word.take().map(|w| (w, at)));
                found.push((c.to_string(), at));
            }
            (None, _) if c.is_whitespace() => found.extend(word.take().map(|w| (w, at))),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(("unexpected end of file, expecting a closing quote".into(), line));
    }
    found.extend(word.take().map(|w| (w, line)));
    Ok(found)
}
