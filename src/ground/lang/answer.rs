//! Errors of the API as people read them. The Kubernetes library writes the whole answer of the API
//! server as Rust code, twice in some texts, so one line of a log had ten rows. What upstream's
//! components print is the message alone.
//!
//! ```text
//! watch initlist error with 403: Api(Status { status: Some(Failure), code: 403,
//!     message: "jobs.batch is forbidden: …", metadata: …, reason: "Forbidden", details: … })
//! watch initlist error with 403: jobs.batch is forbidden: …
//! ```

/// How the library begins such an answer.
const BEGIN: &str = "Status { status: ";

/// Replaces each answer of the API server by its message. Where the message stands before it, the
/// answer is left out.
pub fn in_words(text: &str) -> String {
    let (mut out, mut left) = (String::new(), text);
    while let Some(at) = left.find(BEGIN) {
        let (before, answer) = left.split_at(at);
        // One that does not end was cut off: it stays as it is.
        let Some(end) = end_of(answer) else { break };
        let after = &answer[end..];
        let message = message(&answer[..end]);
        let said =
            before.strip_suffix(" (").filter(|before| !message.is_empty() && before.contains(&message));
        let wrapped = before.strip_suffix("Api(").zip(after.strip_prefix(')'));
        if let Some((before, after)) = said.zip(after.strip_prefix(')')) {
            out.push_str(before);
            left = after;
            continue;
        }
        let (before, after) = wrapped.unwrap_or((before, after));
        out.push_str(before);
        out.push_str(&message);
        left = after;
    }
    out + left
}

/// Where the value that begins here ends: behind the brace that closes its first one. Braces within
/// quotes do not count.
fn end_of(value: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, sign) in value.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The message of an answer, without the marks that Rust puts before quotes.
fn message(answer: &str) -> String {
    let Some((_, quoted)) = answer.split_once(" message: \"") else { return String::new() };
    let (mut out, mut escaped) = (String::new(), false);
    for sign in quoted.chars() {
        match sign {
            'n' if escaped => out.push(' '),
            _ if escaped => out.push(sign),
            '\\' => {
                escaped = true;
                continue;
            }
            '"' => break,
            _ => out.push(sign),
        }
        escaped = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"jobs.batch is forbidden: User "system:x" cannot list {jobs}"#;
    /// As the library writes it: a test of the cluster's logs compares that.
    const ANSWER: &str = r#"Status { status: Some(Failure), code: 403, message: "jobs.batch is forbidden: User \"system:x\" cannot list {jobs}", metadata: Some(ListMeta { continue_: None }), reason: "Forbidden", details: None }"#;

    #[test]
    fn an_error_of_the_api_is_its_message() {
        let as_code = format!("watch initlist error with 403: Api({ANSWER})");
        assert_eq!(in_words(&as_code), format!("watch initlist error with 403: {MESSAGE}"));
        let twice = format!(
            "failed to start watching object: ApiError: {MESSAGE}: Forbidden ({ANSWER}); trying again"
        );
        let expected =
            format!("failed to start watching object: ApiError: {MESSAGE}: Forbidden; trying again");
        assert_eq!(in_words(&twice), expected);
        let bare = format!("watcher watchevent error 403: {ANSWER}");
        assert_eq!(in_words(&bare), format!("watcher watchevent error 403: {MESSAGE}"));
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["ready", "", "Status { status: None", "phase=\"Status { status: \\\"}", "a {b} (c)"] {
            assert_eq!(in_words(text), text);
        }
    }
}
