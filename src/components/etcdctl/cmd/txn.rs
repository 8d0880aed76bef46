//! `txn`: comparisons, then what to do if they hold, then what to do if not; an empty line ends
//! each part.

use super::super::ctx::{Ctx, Fail, INPUT};
use super::super::out::{Page, quoted};
use super::super::parse::read;
use super::super::table::VERBS;
use super::keys;
use etcd::pb::{self, Request, Response, TargetUnion};

pub async fn txn(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    if !ctx.args().is_empty() {
        return Err(Fail::arguments("txn command does not accept argument"));
    }
    let ask = ctx.given.on("interactive");
    if ask {
        ctx.out.line("compares:").await?;
    }
    let text = ctx.read().await?;
    if ask {
        ctx.out.line("success requests (get, put, del):").await?;
        ctx.out.line("failure requests (get, put, del):").await?;
    }
    let request = parse(&text)?;
    let answer: pb::TxnResponse = ctx.connect().await?.call("/etcdserverpb.KV/Txn", request).await?;
    ctx.out.answer(&answer, simple, fields).await
}

/// A whole transaction as text.
pub fn parse(text: &str) -> Result<pb::TxnRequest, Fail> {
    let mut lines = text.lines().map(str::trim);
    let mut part = || lines.by_ref().take_while(|l| !l.is_empty()).collect::<Vec<_>>();
    let (compares, success, failure) = (part(), part(), part());
    Ok(pb::TxnRequest {
        compare: compares.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

/// A string in quotes at the beginning of a text; the string and what follows.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix('"')?;
    let mut found = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((found, &rest[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => found.push('\n'),
                't' => found.push('\t'),
                c => found.push(c),
            },
            c => found.push(c),
        }
    }
    None
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
        return Err(malformed(format!("; nothing may follow {}", quoted(value.as_bytes()))));
    }
    let number = || value.parse::<i64>().map_err(|_| malformed(format!(" ({value:?} is no number)")));
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

    #[test]
    fn a_transaction_is_read_part_by_part() {
        let txn =
            parse("value(\"a b\") = \"1\"\nver(\"k\") > \"2\"\n\nput x 'y z' --prev-kv\n\nget k --prefix\n")
                .unwrap();
        assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (2, 1, 1));
        assert_eq!((txn.compare[0].key.as_ref(), txn.compare[1].result), (b"a b".as_slice(), 1));
        let Some(Request::RequestPut(put)) = &txn.success[0].request else { panic!("{txn:?}") };
        assert!(put.prev_kv && put.value == "y z");
    }

    #[test]
    fn what_cannot_be_read_is_shown() {
        let told = |text: &str| parse(text).unwrap_err().text;
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
