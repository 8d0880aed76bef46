//! What `http()` sends: the URL, and options that make the request differ from a plain GET.
//!
//! ```text
//! http("http://127.0.0.1:31000/")
//! http("https://127.0.0.1:31443/cart", {"host": "shop.example", "verify": "none"})
//! http("http://127.0.0.1:31000/", 20, {"method": "HEAD", "headers": {"x-user": "kim"}})
//! ```

use super::error::Error;
use super::facts::{Facts, Probe};
use super::seen::literal;
use super::value;
use cel::Value;
use cel::common::ast::{EntryExpr, Expr as Node, IdedExpr};
use serde_json::Value as Json;
use std::sync::Arc;

const OPTIONS: [&str; 5] = ["body", "headers", "host", "method", "verify"];
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Requests that one call may ask for.
const TIMES_MAX: i64 = 1000;

const TAKES: &str = "http() takes a URL, how many requests, and options";

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    pub url: String,
    pub method: String,
    /// The `Host` header, and the name that TLS asks for; `None`: those of the URL.
    pub host: Option<String>,
    /// In the order of their names.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Whether the server's certificate has to be one of the cluster's authority, and for the name.
    pub is_verified: bool,
}

impl Call {
    /// Returns a plain GET.
    pub(crate) fn get(url: &str) -> Call {
        Call {
            url: url.into(),
            method: "GET".into(),
            host: None,
            headers: vec![],
            body: String::new(),
            is_verified: true,
        }
    }

    /// Reads the options of a call.
    ///
    /// # Errors
    /// They are no map, or one of them is unknown or has a value that it cannot have.
    fn with(url: &str, options: &Value) -> Result<Call, String> {
        let Json::Object(options) = value::to_json(options) else { return Err(TAKES.into()) };
        let mut call = Call::get(url);
        for (name, option) in &options {
            call.set(name, option)?;
        }
        call.headers.sort();
        Ok(call)
    }

    fn set(&mut self, name: &str, option: &Json) -> Result<(), String> {
        if !OPTIONS.contains(&name) {
            return Err(format!("http() has no option {name:?}; there are {}", OPTIONS.join(", ")));
        }
        if let ("headers", Json::Object(headers)) = (name, option) {
            for (header, text) in headers {
                let text = text.as_str().ok_or_else(|| format!("the header {header:?} is no text"))?;
                self.headers.push((header.clone(), text.into()));
            }
            return Ok(());
        }
        match (name, option.as_str()) {
            ("method", Some(method)) if METHODS.contains(&method) => self.method = method.into(),
            ("host", Some(host)) => self.host = Some(host.into()),
            ("body", Some(body)) => self.body = body.into(),
            ("verify", Some("cluster")) => self.is_verified = true,
            ("verify", Some("none")) => self.is_verified = false,
            _ => return Err(format!("the option {name:?} of http() is {}, not {option}", may_be(name))),
        }
        Ok(())
    }
}

/// Says what the value of an option may be.
fn may_be(option: &str) -> String {
    match option {
        "method" => format!("one of {}", METHODS.join(", ")),
        "verify" => "\"cluster\" or \"none\"".into(),
        "headers" => "a map of texts".into(),
        _ => "a text".into(),
    }
}

/// Answers `http(url)`, `http(url, n)`, `http(url, options)` and `http(url, n, options)`. With a
/// number the answer is a list: all of the requests are sent at once.
///
/// # Errors
/// The values are others, or an answer is not there yet: of a list, any of them.
pub(super) fn http(facts: &Arc<Facts>, args: &[Value]) -> Result<Value, String> {
    let Some((Value::String(url), rest)) = args.split_first() else { return Err(TAKES.into()) };
    let (times, options) = match rest {
        [] => (None, None),
        [Value::Int(times)] => (Some(*times), None),
        [options] => (None, Some(options)),
        [Value::Int(times), options] => (Some(*times), Some(options)),
        _ => return Err(TAKES.into()),
    };
    let call = match options {
        Some(options) => Call::with(url, options)?,
        None => Call::get(url),
    };
    let ask = |nth| facts.probe(Probe::Http { call: call.clone(), nth });
    let Some(times) = times else { return ask(facts.nth(format!("{call:?}"))) };
    let answers: Vec<_> = (0..times.clamp(0, TIMES_MAX) as usize).map(ask).collect();
    Ok(value::list(answers.into_iter().collect::<Result<_, _>>()?))
}

/// Checks the options of a call as far as they are written out, so that a slip is found when the
/// lesson is loaded.
///
/// # Errors
/// An option is unknown, or has a text that it cannot have.
pub(super) fn check(args: &[IdedExpr]) -> Result<(), Error> {
    let Some(Node::Map(options)) = args.last().map(|last| &last.expr) else { return Ok(()) };
    for entry in &options.entries {
        let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
        let Some(name) = literal(&entry.key.expr) else { continue };
        let text = literal(&entry.value.expr).map(Json::from);
        match text {
            Some(text) => Call::get("").set(&name, &text).map_err(Error::Syntax)?,
            None if OPTIONS.contains(&name.as_str()) => {}
            None => return Err(Error::Syntax(format!("http() has no option {name:?}"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use};
    use super::*;

    /// The request that an expression asks for.
    fn asked(source: &str) -> Call {
        let facts = Arc::new(Facts::default());
        let expr = Expr::compile(source, Use::Check, &[]).unwrap();
        assert!(expr.is_probe() && expr.value(&facts, &[]).is_err(), "{source}");
        match facts.take_wanted().probes.into_iter().next() {
            Some(Probe::Http { call, .. }) => call,
            other => panic!("{source} asks for {other:?}"),
        }
    }

    #[test]
    fn options_are_part_of_the_request() {
        assert_eq!(asked("http('http://a/x').status == 200"), Call::get("http://a/x"));
        let call = asked(
            "http('https://a/', {'host': 'shop.example', 'method': 'POST', 'verify': 'none', \
             'body': 'one', 'headers': {'x-b': '2', 'x-a': '1'}}).status == 200",
        );
        let text = |(name, text): (&str, &str)| (name.to_string(), text.to_string());
        let headers = [("x-a", "1"), ("x-b", "2")].map(text).to_vec();
        let wanted = Call {
            method: "POST".into(),
            host: Some("shop.example".into()),
            headers,
            body: "one".into(),
            is_verified: false,
            ..Call::get("https://a/")
        };
        assert_eq!(call, wanted);
        let many = asked("http('http://a/', 3, {'method': 'HEAD'}).all(a, a.status == 200)");
        assert_eq!(many.method, "HEAD");
    }

    #[test]
    fn a_slip_in_an_option_is_found_when_the_lesson_is_loaded() {
        for (options, says) in [
            ("{'hots': 'a'}", "no option \"hots\""),
            ("{'hots': v.host}", "no option \"hots\""),
            ("{'method': 'FETCH'}", "one of DELETE, GET"),
            ("{'verify': 'no'}", "\"cluster\" or \"none\""),
            ("{'headers': 'a: b'}", "a map of texts"),
        ] {
            let source = format!("http('http://a', {options}).status == 200");
            let error = Expr::compile(&source, Use::Check, &[]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(Expr::compile("http('http://a', {'host': v.host}).status == 1", Use::Check, &[]).is_ok());
    }
}
