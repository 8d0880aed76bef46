//! `txn`: comparisons, then what to do if they hold, then what to do if not; an empty line ends
//! each part. No line is looked at after the third one. Input that ends before commits nothing.

use super::super::ctx::Ctx;
use super::super::fail::{Fail, INPUT};
use super::super::flags::{DEL, Flag, GET, PUT};
use super::super::given::read_own;
use super::super::out::{Page, quoted};
use super::keys;
use etcd::pb::{self, Request, Response, TargetUnion};

pub(crate) async fn txn(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    if !ctx.args().is_empty() {
        return Err(Fail::arguments("txn command does not accept argument"));
    }
    let request = pb::TxnRequest {
        compare: part(ctx, PROMPTS[0], async |_, line| compare(line)).await?,
        success: part(ctx, PROMPTS[1], confirmed).await?,
        failure: part(ctx, PROMPTS[2], confirmed).await?,
    };
    // As with etcdctl, whatever --command-timeout says: only the server knows what became of it.
    let etcd = ctx.connect().await?;
    let answer: pb::TxnResponse = etcd.call_without_limit("/etcdserverpb.KV/Txn", request).await?;
    ctx.out.answer(&answer, simple, fields).await
}

/// Reads the lines of a part up to an empty one. Errors: those of a line, as soon as it is read; or
/// the input ends first.
async fn part<T>(
    ctx: &mut Ctx<'_>,
    prompt: &str,
    parse: impl AsyncFn(&mut Ctx<'_>, &str) -> Result<T, Fail>,
) -> Result<Vec<T>, Fail> {
    if ctx.given.on("interactive") {
        ctx.out.line(prompt).await?;
    }
    let mut part = Vec::new();
    loop {
        match ctx.read_line().await?.as_str() {
            "" => return Ok(part),
            line => part.push(parse(ctx, line).await?),
        }
    }
}

/// What `--interactive` says before each part.
const PROMPTS: [&str; 3] =
    ["compares:", "success requests (get, put, del):", "failure requests (get, put, del):"];

/// Splits a line into words as etcdctl does (`Argify`), not as a shell: a word that does not begin
/// with a quote is taken as it is, with all quotes and backslashes in it; one in double quotes has
/// Go's escapes, one in single quotes has none. A quote that does not end is passed over.
///
/// Errors: an escape that Go does not know, or bytes that are no UTF-8.
fn words(line: &str) -> Result<Vec<String>, Fail> {
    // Go's `\s`: only these.
    let is_space = |c: char| matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ');
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let found = match first {
            '"' => double_quoted(rest),
            '\'' => rest[1..].find('\'').map(|end| end + 2),
            c if is_space(c) => None,
            _ => Some(rest.find(is_space).unwrap_or(rest.len())),
        };
        let Some(length) = found else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        words.push(match first {
            '"' => {
                let (bytes, _) = quoted_string(word).ok_or_else(|| Fail::new(INPUT, "invalid syntax"))?;
                let no_text = |_| {
                    Fail::new(INPUT, format!("{word} is not UTF-8; `put` takes such a value from its input"))
                };
                String::from_utf8(bytes).map_err(no_text)?
            }
            '\'' => word[1..length - 1].to_string(),
            _ => word.to_string(),
        });
    }
    Ok(words)
}

/// The length of the double-quoted string that a text begins with; `None` if it does not end.
fn double_quoted(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(at + 1),
            '\\' => drop(chars.next()),
            _ => {}
        }
    }
    None
}

/// A string in quotes at the beginning of a text, as Go reads it (`%q` of `Sscanf`): its bytes and
/// what follows. `None` if it does not end, or has an escape that Go does not know.
fn quoted_string(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (found, rest) = rest.split_once('`')?;
        return Some((found.into(), rest)); // with carriage returns, which `Unquote` would drop
    }
    let mut rest = text.strip_prefix('"')?;
    let mut found = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((found, rest)),
            '\n' => return None,
            '\\' => rest = escape(rest, &mut found)?,
            c => found.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

/// Adds what stands for the escape that a text begins with, without its backslash; what follows.
fn escape<'a>(text: &'a str, found: &mut Vec<u8>) -> Option<&'a str> {
    let c = text.chars().next()?;
    let plain = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '"' => c as u8,
        // A byte as `\x00` or `\000`, a character as `\u00e9` or `\U0001f600`.
        'x' | 'u' | 'U' | '0'..='7' => {
            let (skip, digits, radix) = match c {
                'x' => (1, 2, 16),
                'u' => (1, 4, 16),
                'U' => (1, 8, 16),
                _ => (0, 3, 8),
            };
            let number = text.get(skip..skip + digits)?;
            if !number.chars().all(|digit| digit.is_digit(radix)) {
                return None;
            }
            let number = u32::from_str_radix(number, radix).ok()?;
            match c {
                'u' | 'U' => found.extend(char::from_u32(number)?.encode_utf8(&mut [0; 4]).bytes()),
                _ => found.push(u8::try_from(number).ok()?),
            }
            return Some(&text[skip + digits..]);
        }
        _ => return None,
    };
    found.push(plain);
    Some(&text[1..])
}

/// `mod("key") > "5"`
fn compare(line: &str) -> Result<pb::Compare, Fail> {
    let malformed = |why: String| Fail::new(INPUT, format!("malformed comparison: {line}{why}"));
    let Some((target, rest)) = line.split_once('(') else { return Err(malformed(String::new())) };
    // As `Sscanf` of Go reads `%q) %s %q`: any space before and between.
    let parts = quoted_string(rest.trim_start()).and_then(|(key, rest)| {
        let rest = rest.strip_prefix(')')?.strip_prefix(char::is_whitespace)?;
        let (operator, rest) = rest.trim_start().split_once(char::is_whitespace)?;
        Some((key, operator, quoted_string(rest.trim_start())?))
    });
    let Some((key, operator, (value, tail))) = parts else {
        return Err(malformed(format!("; it looks like {target}(\"key\") = \"value\"")));
    };
    if !tail.trim().is_empty() {
        return Err(malformed(format!("; nothing may follow {}", quoted(&value))));
    }
    let number = |radix: u32| {
        let text = std::str::from_utf8(&value).ok();
        let number = text.and_then(|text| i64::from_str_radix(text, radix).ok());
        number.ok_or_else(|| malformed(format!(" ({} is no number)", quoted(&value))))
    };
    let (target, union) = match target {
        "ver" | "version" => (0, TargetUnion::Version(number(10)?)),
        "c" | "create" => (1, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (2, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (3, TargetUnion::Value(value.clone().into())),
        // In hexadecimal, as every verb prints and takes it.
        "lease" => (4, TargetUnion::Lease(number(16)?)),
        other => return Err(malformed(format!(" (unknown target {other})"))),
    };
    let result = match operator {
        "=" => 0,
        ">" => 1,
        "<" => 2,
        "!=" => 3,
        other => return Err(malformed(format!(" (unknown comparison {other}; there are =, !=, < and >)"))),
    };
    Ok(pb::Compare {
        result,
        target,
        key: key.into(),
        target_union: Some(union),
        range_end: Default::default(),
    })
}

/// Reads an operation. As on a command line, a range that it deletes is warned of.
async fn confirmed(ctx: &mut Ctx<'_>, line: &str) -> Result<pb::RequestOp, Fail> {
    let (operation, warning) = operation(line)?;
    keys::warn(ctx, warning).await;
    Ok(operation)
}

/// The verbs of operations.
const OPERATIONS: [(&str, &[Flag]); 3] = [("get", GET), ("put", PUT), ("del", DEL)];

/// `put key value --prev-kv`, as on a command line but for the quotes and the global flags: what
/// it asks, and what to warn of before. The beginning of a verb will do. Errors: all that is wrong
/// with flags has one text, as with etcdctl.
fn operation(line: &str) -> Result<(pb::RequestOp, Option<String>), Fail> {
    let invalid = || Fail::new(INPUT, format!("invalid txn request: {line}"));
    let words = words(line)?;
    let (Some((name, rest)), 2..) = (words.split_first(), words.len()) else {
        return Err(Fail::new(INPUT, format!("invalid txn compare request: {line}"))); // etcdctl's words
    };
    let begun = |(verb, _): &&(&str, &[Flag])| !name.is_empty() && verb.starts_with(name.as_str());
    let (name, flags) = OPERATIONS.iter().find(begun).copied().ok_or_else(invalid)?;
    let given = read_own(name, flags, rest).map_err(|_| invalid())?;
    let request = match name {
        "get" => Request::RequestRange(keys::get_request(&given)?),
        "put" => Request::RequestPut(keys::put_request(&given, None)?),
        _ => Request::RequestDeleteRange(keys::del_request(&given)?),
    };
    let warning = matches!(request, Request::RequestDeleteRange(_)).then(|| keys::range_warning(&given));
    Ok((pb::RequestOp { request: Some(request) }, warning.flatten()))
}

fn simple(page: &mut Page, answer: &pb::TxnResponse) {
    page.line(if answer.succeeded { "SUCCESS" } else { "FAILURE" });
    for response in &answer.responses {
        page.line("");
        match &response.response {
            Some(Response::ResponseRange(r)) => r.kvs.iter().for_each(|kv| page.kv(kv)),
            Some(Response::ResponsePut(r)) => keys::put_simple(page, r),
            Some(Response::ResponseDeleteRange(r)) => keys::del_simple(page, r),
            Some(Response::ResponseTxn(r)) => simple(page, r),
            None => {}
        }
    }
}

fn fields(page: &mut Page, answer: &pb::TxnResponse) {
    page.header(&answer.header);
    page.field("Succeeded", answer.succeeded);
    for response in &answer.responses {
        match &response.response {
            Some(Response::ResponseRange(r)) => keys::range_fields(page, r),
            Some(Response::ResponsePut(r)) => keys::put_fields(page, r),
            Some(Response::ResponseDeleteRange(r)) => keys::del_fields(page, r),
            Some(Response::ResponseTxn(r)) => fields(page, r),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_and_operations_are_read_line_by_line() {
        let first = compare("value(\"a b\") = \"1\"").unwrap();
        assert_eq!((first.key.as_ref(), first.result), (b"a b".as_slice(), 0));
        assert_eq!(compare("ver(\"k\") > \"2\"").unwrap().result, 1);
        let put = operation("put x 'y z' --prev-kv").unwrap().0.request;
        let Some(Request::RequestPut(put)) = put else { panic!("{put:?}") };
        assert!(put.prev_kv && put.value == "y z");
        assert!(matches!(operation("get k --prefix").unwrap().0.request, Some(Request::RequestRange(_))));
    }

    /// As cobra and `Sscanf` read them for etcdctl.
    #[test]
    fn lines_have_short_verbs_and_any_space() {
        let of = |line: &str| operation(line).map(|(operation, _)| operation);
        for (short, whole) in [("p k v", "put k v"), ("ge k", "get k"), ("d k", "del k")] {
            assert_eq!(of(short), of(whole), "{short}");
            assert!(of(short).is_ok(), "{short}");
        }
        for line in ["delete k", "puts k v", "x k"] {
            assert!(of(line).is_err(), "{line}");
        }
        let plain = compare(r#"mod("k") > "5""#);
        assert!(plain.is_ok());
        for line in ["mod( \"k\") > \"5\"", "mod(\"k\")\t>\t\"5\"", "mod(\"k\")  >  \"5\""] {
            assert_eq!(compare(line), plain, "{line}");
        }
        for line in [r#"mod("k")> "5""#, r#"mod("k") >"5""#, r#"mod("k" ) > "5""#] {
            assert!(compare(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_lease_is_compared_by_the_number_that_lease_grant_prints() {
        let target = |line: &str| compare(line).map(|compare| compare.target_union);
        let lease = Ok(Some(TargetUnion::Lease(0x694d_8b3c_2f1e)));
        assert_eq!(target(r#"lease("k") = "0000694d8b3c2f1e""#), lease);
        assert_eq!(target(r#"lease("k") = "10""#), Ok(Some(TargetUnion::Lease(16))));
        assert_eq!(target(r#"ver("k") = "10""#), Ok(Some(TargetUnion::Version(10))));
        assert!(target(r#"lease("k") = "zz""#).unwrap_err().text.contains("is no number"));
    }

    /// What etcdctl 3.6's regular expression finds, by its own engine.
    #[test]
    fn a_value_is_stored_as_etcdctl_stores_it() {
        let value = |line: &str| match operation(line).unwrap().0.request {
            Some(Request::RequestPut(put)) => String::from_utf8(put.value.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        for (line, stored) in [
            (r#"put k {"a":1}"#, r#"{"a":1}"#),
            (r#"put k "a\tb""#, "a\tb"),
            (r#"put k "\x00""#, "\0"),
            (r"put k C:\temp", r"C:\temp"),
            ("put k #x", "#x"),
            ("put k it's", "it's"),
            (r#"put k "v w""#, "v w"),
            (r#"put k 'v\t"w'"#, r#"v\t"w"#),
            (r#"put k "say \"x\"""#, "say \"x\""),
            ("put k \u{e9}\u{a0}x", "\u{e9}\u{a0}x"),
            (r#"put k """#, ""),
            (r#"put k "half"#, "half"),
            (r#"put "k"v"#, "v"),
        ] {
            assert_eq!(value(line), stored, "{line}");
        }
        assert_eq!(operation(r#"put k "\q""#).unwrap_err(), Fail::new(INPUT, "invalid syntax"));
        assert_eq!(operation(r#"put k "\xff""#).unwrap_err().code, INPUT, "a byte that is no text");
    }

    #[test]
    fn strings_have_the_escapes_of_go() {
        let read = |text: &str| quoted_string(text).map(|(found, _)| found);
        let all = r#""a\x00b\u00e9\U0001f600\101\n\\\"""#;
        assert_eq!(read(all).unwrap(), "a\0b\u{e9}\u{1f600}A\n\\\"".as_bytes());
        assert_eq!(read(r#""\xff""#).unwrap(), [0xff], "a key is bytes");
        assert_eq!(read("`a\\n\r`").unwrap(), b"a\\n\r");
        for wrong in [
            r#""\q""#,
            r#""\x1""#,
            r#""\u00e""#,
            r#""\ud800""#,
            r#""\400""#,
            r#""\'""#,
            "\"a",
            "a",
            "\"a\n\"",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_shown() {
        let told = |text: &str| compare(text).unwrap_err().text;
        assert_eq!(told("zzz"), "malformed comparison: zzz");
        assert_eq!(
            told("foo(\"a\") = \"1\""),
            "malformed comparison: foo(\"a\") = \"1\" (unknown target foo)"
        );
        assert!(told("mod(\"a\") ~ \"1\"").contains("unknown comparison ~"));
        assert!(told("mod(a) = 1").contains("it looks like mod(\"key\")"));
        let told = |text: &str| operation(text).unwrap_err().text;
        assert_eq!(told("foo x"), "invalid txn request: foo x");
        assert_eq!(told("get"), "invalid txn compare request: get");
    }

    /// As `ResponseOp_Response…` of etcd's API 3.6 are written by Go.
    #[test]
    fn answers_have_the_names_of_the_protocol_in_json() {
        let name = |response: Response| {
            let json = serde_json::to_value(pb::ResponseOp { response: Some(response) }).unwrap();
            json["Response"].as_object().unwrap().keys().next().unwrap().clone()
        };
        assert_eq!(name(Response::ResponseRange(Default::default())), "response_range");
        assert_eq!(name(Response::ResponsePut(Default::default())), "response_put");
        assert_eq!(name(Response::ResponseDeleteRange(Default::default())), "response_delete_range");
        assert_eq!(name(Response::ResponseTxn(Default::default())), "response_txn");
    }

    /// The store is that of the command line: `--endpoints` in a line would not be heeded.
    #[test]
    fn a_line_has_the_flags_of_its_verb_alone() {
        for line in [
            "del k --endpoints x",
            "del k -h",
            "del k --help",
            "get k -w json",
            "put k v --hex",
            "get k --limit many",
            "get k --limit",
            "get k --nonsense",
        ] {
            assert_eq!(operation(line), Err(Fail::new(INPUT, format!("invalid txn request: {line}"))));
        }
        assert!(operation("del a b").unwrap().1.is_some_and(|warning| warning.starts_with("Warning: ")));
        assert_eq!(operation("del a b --range").unwrap().1, None);
        assert_eq!(operation("put a b").unwrap().1, None);
    }
}
