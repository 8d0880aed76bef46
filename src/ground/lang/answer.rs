//! Errors of the API as people read them. The Kubernetes library writes the whole answer of the API
//! server as Rust code, twice in some texts, so one line of a log had ten rows. What upstream's
//! components print is the message alone.
//!
//! ```text
//! watch initlist error with 403: Api(Status { status: Some(Failure), code: 403,
//!     message: "jobs.batch is forbidden: …", metadata: …, reason: "Forbidden", details: … })
//! watch initlist error with 403: jobs.batch is forbidden: …
//! ```

/// The beginning of an answer in the library's texts.
const BEGIN: &str = "Status { status: ";

/// Replaces each answer of the API server by its message. An answer without a message, as a proxy
/// gives with an empty body, is replaced by its reason. Where the library wrote the message in
/// front of the answer, too, the answer is left out.
pub fn in_words(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(BEGIN) {
        // An answer without an end was cut off: it stays as it is.
        let Some(length) = length_of(&rest[at..]) else { break };
        let (before, answer, after) = (&rest[..at], &rest[at..at + length], &rest[at + length..]);
        let Some(message) = message(answer) else {
            out.push_str(&rest[..at + length]);
            rest = after;
            continue;
        };
        // `ApiError: MESSAGE: Forbidden (ANSWER)`
        let repeats = |before: &&str| on_one_line(before).contains(&message);
        let repeated = before.strip_suffix(" (").filter(repeats);
        if let Some((before, after)) = repeated.zip(after.strip_prefix(')')) {
            out.push_str(before);
            rest = after;
            continue;
        }
        // `error with 403: Api(ANSWER)`
        let wrapped = before.strip_suffix("Api(").zip(after.strip_prefix(')'));
        let (before, after) = wrapped.unwrap_or((before, after));
        out.push_str(before);
        out.push_str(&message);
        rest = after;
    }
    out + rest
}

/// Returns the length in bytes of the value with which a text begins: it ends with the brace that
/// closes its first one. Braces within quotes do not count. `None`: the value has no end.
fn length_of(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, sign) in text.char_indices() {
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

/// Returns a text with spaces in the places of its line breaks and tabs.
fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// Returns the message of an answer, else its reason; `None` if it has neither.
fn message(answer: &str) -> Option<String> {
    let fields = [" message: \"", " reason: \""].into_iter();
    fields.map(|field| quoted_value(answer, field)).find(|text| !text.is_empty())
}

/// Returns the text of a field without the backslashes of Rust's `Debug`, on one line; empty if the
/// answer has no such field. A character that `Debug` writes as its number (`\u{1b}`) stays a
/// number: as a character it could steer a terminal.
fn quoted_value(answer: &str, field: &str) -> String {
    let Some((_, quoted)) = answer.split_once(field) else { return String::new() };
    let (mut out, mut escaped) = (String::new(), false);
    for sign in quoted.chars() {
        match sign {
            'n' | 'r' | 't' if escaped => out.push(' '),
            'u' | '0' if escaped => out.extend(['\\', sign]),
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

    /// A webhook or a policy may answer with line breaks, and the library writes them both raw and
    /// as `Debug` does.
    #[test]
    fn a_message_of_several_lines_is_written_once() {
        let message = "no:\n\ta \\u \u{1b}[2J";
        let answer = format!("Status {{ status: Some(Failure), message: {message:?}, code: 403 }}");
        let bare = in_words(&format!("error 403: {answer}"));
        assert_eq!(bare, r"error 403: no:  a \u \u{1b}[2J");
        let twice = |message: &str| {
            in_words(&format!(
                "ApiError: {message}: Forbidden (Status {{ status: None, message: {message:?} }})"
            ))
        };
        assert_eq!(twice("no:\n\ta"), "ApiError: no:\n\ta: Forbidden");
    }

    #[test]
    fn an_answer_without_a_message_is_its_reason() {
        let answer = |reason: &str| {
            format!("Api(Status {{ status: Some(Failure), code: 503, message: \"\", reason: {reason:?} }})")
        };
        assert_eq!(
            in_words(&format!("cannot list: {}.", answer("Unavailable"))),
            "cannot list: Unavailable."
        );
        assert_eq!(in_words(&answer("")), answer(""), "the code is all that it says");
    }

    /// A log may hold several errors, and its last line may be cut off.
    #[test]
    fn each_answer_of_a_text_is_replaced_until_one_has_no_end() {
        let text = format!("first: Api({ANSWER}); then: {ANSWER}; last: Status {{ status: Some(Fail");
        let expected = format!("first: {MESSAGE}; then: {MESSAGE}; last: Status {{ status: Some(Fail");
        assert_eq!(in_words(&text), expected);
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["ready", "", "Status { status: None", "phase=\"Status { status: \\\"}", "a {b} (c)"] {
            assert_eq!(in_words(text), text);
        }
    }
}
