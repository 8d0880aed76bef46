//! `txn`: comparisons, then what to do if they hold, then what to do if not; an empty line ends
//! each part. Nothing is read after the third one.

use super::super::ctx::{Ctx, Fail, INPUT};
use super::super::out::{Page, quoted};
use super::super::parse::read;
use super::super::table::VERBS;
use super::keys;
use etcd::pb::{self, Request, Response, TargetUnion};

pub(crate) async fn txn(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    if !ctx.args().is_empty() {
        return Err(Fail::arguments("txn command does not accept argument"));
    }
    let ask = ctx.given.on("interactive");
    let mut parts = Vec::new();
    for prompt in PROMPTS {
        if ask {
            ctx.out.line(prompt).await?;
        }
        parts.push(ctx.read_part().await?);
    }
    let request = parse(&parts)?;
    let answer: pb::TxnResponse = ctx.connect().await?.call("/etcdserverpb.KV/Txn", request).await?;
    ctx.out.answer(&answer, simple, fields).await
}

/// What `--interactive` says before each part.
const PROMPTS: [&str; 3] =
    ["compares:", "success requests (get, put, del):", "failure requests (get, put, del):"];

/// A transaction from the lines of its parts.
fn parse(parts: &[Vec<String>]) -> Result<pb::TxnRequest, Fail> {
    let part = |n: usize| parts.get(n).into_iter().flatten().map(|line| line.trim());
    Ok(pb::TxnRequest {
        compare: part(0).map(compare).collect::<Result<_, _>>()?,
        success: part(1).map(operation).collect::<Result<_, _>>()?,
        failure: part(2).map(operation).collect::<Result<_, _>>()?,
    })
}

/// A string in quotes at the beginning of a text, as Go writes it (`strconv.Unquote`): its bytes
/// and what follows. `None` if it does not end, or has an escape that Go does not know.
fn quoted_string(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (found, rest) = rest.split_once('`')?;
        return Some((found.replace('\r', "").into_bytes(), rest));
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
    let parts = quoted_string(rest).and_then(|(key, rest)| {
        let (operator, rest) = rest.strip_prefix(')')?.trim_start().split_once(' ')?;
        Some((key, operator, quoted_string(rest.trim_start())?))
    });
    let Some((key, operator, (value, tail))) = parts else {
        return Err(malformed(format!("; it looks like {target}(\"key\") = \"value\"")));
    };
    if !tail.trim().is_empty() {
        return Err(malformed(format!("; nothing may follow {}", quoted(&value))));
    }
    let number = || {
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok());
        number.ok_or_else(|| malformed(format!(" ({} is no number)", quoted(&value))))
    };
    let (target, union) = match target {
        "ver" | "version" => (0, TargetUnion::Version(number()?)),
        "c" | "create" => (1, TargetUnion::CreateRevision(number()?)),
        "m" | "mod" => (2, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (3, TargetUnion::Value(value.clone().into())),
        "lease" => (4, TargetUnion::Lease(number()?)),
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

/// `put key value --prev-kv`, as on a command line.
fn operation(line: &str) -> Result<pb::RequestOp, Fail> {
    let invalid = || Fail::new(INPUT, format!("invalid txn request: {line}"));
    let words = shlex::split(line).ok_or_else(invalid)?;
    let (name, rest) = words.split_first().ok_or_else(invalid)?;
    let verb = VERBS
        .iter()
        .find(|v| v.name == name && ["get", "put", "del"].contains(&v.name))
        .ok_or_else(invalid)?;
    let given = read(verb, rest)?;
    let request = match verb.name {
        "get" => Request::RequestRange(keys::get_request(&given)?),
        "put" => Request::RequestPut(keys::put_request(&given, None)?),
        _ => Request::RequestDeleteRange(keys::del_request(&given)?),
    };
    Ok(pb::RequestOp { request: Some(request) })
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

    /// As if these lines had been read.
    fn parts(text: &str) -> Vec<Vec<String>> {
        let mut lines = text.lines();
        let mut part = || lines.by_ref().take_while(|l| !l.is_empty()).map(String::from).collect();
        vec![part(), part(), part()]
    }

    #[test]
    fn a_transaction_is_read_part_by_part() {
        let text = "value(\"a b\") = \"1\"\nver(\"k\") > \"2\"\n\nput x 'y z' --prev-kv\n\nget k --prefix\n";
        let txn = parse(&parts(text)).unwrap();
        assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (2, 1, 1));
        assert_eq!((txn.compare[0].key.as_ref(), txn.compare[1].result), (b"a b".as_slice(), 1));
        let Some(Request::RequestPut(put)) = &txn.success[0].request else { panic!("{txn:?}") };
        assert!(put.prev_kv && put.value == "y z");
    }

    #[test]
    fn strings_have_the_escapes_of_go() {
        let read = |text: &str| quoted_string(text).map(|(found, _)| found);
        let all = r#""a\x00b\u00e9\U0001f600\101\n\\\"""#;
        assert_eq!(read(all).unwrap(), "a\0b\u{e9}\u{1f600}A\n\\\"".as_bytes());
        assert_eq!(read(r#""\xff""#).unwrap(), [0xff], "a key is bytes");
        assert_eq!(read("`a\\n`").unwrap(), b"a\\n");
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
        let told = |text: &str| parse(&parts(text)).unwrap_err().text;
        assert_eq!(told("zzz"), "malformed comparison: zzz");
        assert_eq!(
            told("foo(\"a\") = \"1\""),
            "malformed comparison: foo(\"a\") = \"1\" (unknown target foo)"
        );
        assert!(told("mod(\"a\") ~ \"1\"").contains("unknown comparison ~"));
        assert!(told("mod(a) = 1").contains("it looks like mod(\"key\")"));
        assert_eq!(told("\nfoo x\n"), "invalid txn request: foo x");
    }
}
