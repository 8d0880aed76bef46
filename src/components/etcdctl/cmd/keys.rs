//! `get`, `put`, `del`.

use super::super::ctx::Ctx;
use super::super::fail::{FEATURE, Fail};
use super::super::given::{Given, lease_id};
use super::super::out::{Format, Page, quoted};
use bytes::Bytes;
use etcd::pb;
use std::time::Duration;

/// How long a person can think about a range that is about to be deleted, as with etcdctl.
const DELETE_PAUSE: Duration = Duration::from_secs(2);

/// The first key after all that begin with `prefix`.
fn after(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0])
}

/// Key and end of the range that arguments, `--prefix` and `--from-key` name.
pub(crate) fn range_of(given: &Given, verb: &str) -> Result<(Bytes, Bytes), Fail> {
    let (prefix, from_key) = (given.on("prefix"), given.on("from-key"));
    // A word too many is no detail: `del a b c` would delete everything from a to b.
    let (1..=2, Some(key)) = (given.args.len(), given.args.first()) else {
        return Err(Fail::arguments(format!(
            "{verb} command needs one argument as key and an optional argument as range_end"
        )));
    };
    if prefix && from_key {
        return Err(Fail::arguments(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    let key = Bytes::from(key.clone().into_bytes());
    if given.args.len() > 1 {
        if prefix || from_key {
            return Err(Fail::arguments(
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
            ));
        }
        return Ok((key, Bytes::from(given.args[1].clone().into_bytes())));
    }
    let zero = || Bytes::from_static(&[0]);
    Ok(match (prefix, from_key, key.is_empty()) {
        (true, _, true) | (_, true, true) => (zero(), zero()),
        (true, _, false) => (key.clone(), after(&key)),
        (_, true, false) => (key, zero()),
        _ => (key, Bytes::new()),
    })
}

/// Returns whether `--consistency` lets one member answer from what it knows. Errors: neither `l`
/// nor `s`.
pub(crate) fn is_serializable(given: &Given) -> Result<bool, Fail> {
    match given.text("consistency").as_str() {
        "l" => Ok(false),
        "s" => Ok(true),
        other => Err(Fail::new(FEATURE, format!("unknown consistency flag {}", quoted(other.as_bytes())))),
    }
}

/// Returns the bounds of a revision that a flag `--min-…` and a flag `--max-…` name. 0 is no bound,
/// and so is less. Errors: the bounds are in the wrong order.
fn bounds(given: &Given, min: &str, max: &str) -> Result<(i64, i64), Fail> {
    let (low, high) = (given.number(min).max(0), given.number(max).max(0));
    if high > 0 && low > high {
        return Err(Fail::new(FEATURE, format!("--{min} {low} is more than --{max} {high}")));
    }
    Ok((low, high))
}

/// Errors: an unknown order, target or consistency, flags that exclude each other, or bounds in the
/// wrong order.
pub(crate) fn get_request(given: &Given) -> Result<pb::RangeRequest, Fail> {
    let (key, range_end) = range_of(given, "get")?;
    if given.on("keys-only") && given.on("count-only") {
        return Err(Fail::arguments(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let serializable = is_serializable(given)?;
    let order = given.text("order").to_uppercase();
    let sort_order = match order.as_str() {
        "" => 0,
        "ASCEND" => 1,
        "DESCEND" => 2,
        _ => return Err(Fail::new(FEATURE, format!("bad sort order {}", given.text("order")))),
    };
    let target = given.text("sort-by").to_uppercase();
    let sort_target = match target.as_str() {
        "" | "KEY" => 0,
        "VERSION" => 1,
        "CREATE" => 2,
        "MODIFY" => 3,
        "VALUE" => 4,
        _ => return Err(Fail::new(FEATURE, format!("bad sort target {}", given.text("sort-by")))),
    };
    // As etcd's client: keys are in this order anyway, and to sort them the server would read all
    // of them before it looks at the limit.
    let sort_order = if (sort_order, sort_target) == (1, 0) { 0 } else { sort_order };
    let (min_create_revision, max_create_revision) = bounds(given, "min-create-rev", "max-create-rev")?;
    let (min_mod_revision, max_mod_revision) = bounds(given, "min-mod-rev", "max-mod-rev")?;
    // As etcdctl, a target alone is sent without an order: the server sorts upwards then, but only
    // what is left behind the limit.
    Ok(pb::RangeRequest {
        key,
        range_end,
        limit: given.number("limit"),
        revision: given.number("rev").max(0),
        sort_order,
        sort_target,
        serializable,
        keys_only: given.on("keys-only"),
        count_only: given.on("count-only"),
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    })
}

/// Errors: missing or superfluous arguments, a lease that is no number. An empty input is no value:
/// it is what a command that failed leaves, or `/dev/null`, and would overwrite the key.
pub(crate) fn put_request(given: &Given, stdin: Option<Vec<u8>>) -> Result<pb::PutRequest, Fail> {
    let (ignore_value, ignore_lease) = (given.on("ignore-value"), given.on("ignore-lease"));
    let (key, value) = match (given.args.as_slice(), stdin) {
        ([key], _) if ignore_value => (key, Vec::new()),
        ([_, ..], _) if ignore_value => {
            return Err(Fail::arguments("put command needs only 1 argument when 'ignore-value' is set"));
        }
        ([key], Some(value)) if !value.is_empty() => (key, value),
        ([key, value, ..], _) => (key, value.clone().into_bytes()), // etcdctl, too, does not look at what follows
        _ => return Err(Fail::arguments("put command needs 1 argument and input from stdin or 2 arguments")),
    };
    Ok(pb::PutRequest {
        key: key.clone().into(),
        value: value.into(),
        lease: lease_id(&given.text("lease"), "bad lease ID")?,
        prev_kv: given.on("prev-kv"),
        ignore_value,
        ignore_lease,
    })
}

pub(crate) fn del_request(given: &Given) -> Result<pb::DeleteRangeRequest, Fail> {
    let (key, range_end) = range_of(given, "del")?;
    Ok(pb::DeleteRangeRequest { key, range_end, prev_kv: given.on("prev-kv") })
}

/// What to tell before the keys between two are deleted; `None`: one key, keys that a flag names,
/// or `--range` says that the range is meant.
pub(crate) fn range_warning(given: &Given) -> Option<String> {
    let [key, end] = given.args.as_slice() else { return None };
    (!given.on("range")).then(|| {
        format!(
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 \
             seconds to cancel. You can provide `--range` flag to avoid the delay.",
            quoted(key.as_bytes()),
            quoted(end.as_bytes())
        )
    })
}

/// Tells a warning and gives time to interrupt.
pub(crate) async fn warn(ctx: &mut Ctx<'_>, warning: Option<String>) {
    if let Some(warning) = warning {
        ctx.tell(&warning).await;
        clock::pause(DELETE_PAUSE).await;
    }
}

/// Checks that the format has a place for the part of the answer that the flags of `get` ask for.
fn check_format(given: &Given, format: Format) -> Result<(), Fail> {
    let values_only = given.on("print-value-only");
    if values_only && format != Format::Simple {
        return Err(Fail::arguments("print-value-only is only for `--write-out=simple`"));
    }
    if given.on("count-only") && format == Format::Simple {
        return Err(Fail::arguments("--count-only is only for `--write-out=fields` and `--write-out=json`"));
    }
    Ok(())
}

pub(crate) async fn get(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let request = get_request(&ctx.given)?;
    check_format(&ctx.given, ctx.out.format)?;
    let answer = ctx.connect().await?.range(request).await?;
    if ctx.given.on("print-value-only") {
        let mut page = ctx.out.page();
        answer.kvs.iter().for_each(|kv| page.raw(&kv.value));
        return ctx.out.send(&page.bytes).await;
    }
    ctx.out.answer(&answer, |page, a| a.kvs.iter().for_each(|kv| page.kv(kv)), range_fields).await
}

pub(crate) async fn put(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let piped = match ctx.args().len() == 1 && !ctx.given.on("ignore-value") {
        true => Some(ctx.read_bytes("the value").await?),
        false => None,
    };
    let request = put_request(&ctx.given, piped)?;
    let answer: pb::PutResponse = ctx.connect().await?.call("/etcdserverpb.KV/Put", request).await?;
    ctx.out.answer(&answer, put_simple, put_fields).await
}

pub(crate) async fn del(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let request = del_request(&ctx.given)?;
    warn(ctx, range_warning(&ctx.given)).await;
    let answer: pb::DeleteRangeResponse =
        ctx.connect().await?.call("/etcdserverpb.KV/DeleteRange", request).await?;
    ctx.out.answer(&answer, del_simple, del_fields).await
}

pub(crate) fn put_simple(page: &mut Page, answer: &pb::PutResponse) {
    page.line("OK");
    answer.prev_kv.iter().for_each(|kv| page.kv(kv));
}

pub(crate) fn del_simple(page: &mut Page, answer: &pb::DeleteRangeResponse) {
    page.line(answer.deleted.to_string());
    answer.prev_kvs.iter().for_each(|kv| page.kv(kv));
}

pub(crate) fn range_fields(page: &mut Page, answer: &pb::RangeResponse) {
    page.header(&answer.header);
    answer.kvs.iter().for_each(|kv| page.kv_fields("", kv));
    page.field("More", answer.more);
    page.field("Count", answer.count);
}

pub(crate) fn put_fields(page: &mut Page, answer: &pb::PutResponse) {
    page.header(&answer.header);
    answer.prev_kv.iter().for_each(|kv| page.kv_fields("Prev", kv));
}

pub(crate) fn del_fields(page: &mut Page, answer: &pb::DeleteRangeResponse) {
    page.header(&answer.header);
    page.field("Deleted", answer.deleted);
    answer.prev_kvs.iter().for_each(|kv| page.kv_fields("Prev", kv));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{DEL, GET, PUT};
    use crate::given::read;

    fn given(line: &str) -> Given {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let flags = [("get", GET), ("put", PUT), ("del", DEL)];
        let flags = flags.iter().find(|(verb, _)| *verb == name).unwrap().1;
        read(name, flags, &rest.split_whitespace().map(String::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_word_too_many_deletes_and_shows_nothing() {
        for line in ["del a b c", "del", "del a b c --prev-kv", "del --prefix --from-key"] {
            let refused = del_request(&given(line)).unwrap_err();
            assert_eq!(refused.code, crate::fail::ARGUMENTS, "{line}");
            assert!(refused.text.starts_with("del command needs one argument as key"), "{line}: {refused:?}");
        }
        assert!(get_request(&given("get a b c")).is_err());
        let refused = get_request(&given("get --consistency x")).unwrap_err();
        assert_eq!(refused.code, crate::fail::ARGUMENTS, "the key is missed first: {refused:?}");
        let both = get_request(&given("get a --keys-only --count-only -w fields")).unwrap_err();
        assert_eq!(both.code, crate::fail::ARGUMENTS);
        assert!(both.text.ends_with("cannot be set at the same time, choose one"), "{both:?}");
        let two = del_request(&given("del a b")).unwrap();
        assert_eq!((&two.key[..], &two.range_end[..]), (&b"a"[..], &b"b"[..]));
        assert!(del_request(&given("del a b --prefix")).unwrap_err().text.starts_with("too many arguments"));
    }

    /// As `getGetOp` of etcdctl 3.6.
    #[test]
    fn what_get_does_not_name_is_left_to_the_server() {
        let sort = |line: &str| get_request(&given(line)).map(|r| (r.sort_order, r.sort_target));
        assert_eq!(sort("get a --prefix --sort-by VALUE --limit 2"), Ok((0, 4)));
        assert_eq!(sort("get a --prefix --sort-by value --order descend"), Ok((2, 4)));
        assert_eq!(sort("get a --prefix --order ASCEND --limit 2"), Ok((0, 0)), "as keys are anyway");
        assert_eq!(sort("get a --prefix --order ASCEND --sort-by VERSION"), Ok((1, 1)));
        let revision = |line: &str| get_request(&given(line)).map(|r| r.revision);
        assert_eq!(revision("get a --rev=-5"), Ok(0), "in a transaction it would be compacted");
        assert_eq!(revision("get a --rev=5"), Ok(5));
    }

    #[test]
    fn keys_are_chosen_by_the_revisions_of_their_versions() {
        let line = "get a --prefix --min-create-rev 2 --max-create-rev 5 --min-mod-rev 3 --max-mod-rev 0x10";
        let ask = get_request(&given(line)).unwrap();
        assert_eq!((ask.min_create_revision, ask.max_create_revision), (2, 5));
        assert_eq!((ask.min_mod_revision, ask.max_mod_revision), (3, 16));
        let ask = get_request(&given("get a --max-mod-rev=-1 --min-mod-rev 4")).unwrap();
        assert_eq!((ask.min_mod_revision, ask.max_mod_revision), (4, 0), "as if it was not given");
        for bounds in ["create", "mod"] {
            let line = format!("get a --min-{bounds}-rev 6 --max-{bounds}-rev 5");
            let refused = get_request(&given(&line)).unwrap_err();
            let told = format!("--min-{bounds}-rev 6 is more than --max-{bounds}-rev 5");
            assert_eq!(refused, Fail::new(FEATURE, told));
        }
    }

    /// The server judges both together (`etcdserver: lease is provided`), and 0 is no lease.
    #[test]
    fn a_lease_and_one_that_is_kept_are_both_sent() {
        let ask = put_request(&given("put a b --ignore-lease --lease 7b"), None).unwrap();
        assert_eq!((ask.lease, ask.ignore_lease), (0x7b, true));
        let ask = put_request(&given("put a b --ignore-lease --lease 0"), None).unwrap();
        assert_eq!((ask.lease, ask.ignore_lease), (0, true));
    }

    #[test]
    fn a_format_without_a_place_for_the_answer_is_refused() {
        let code = |line: &str, format: Format| check_format(&given(line), format).map_err(|fail| fail.code);
        let refused = Err(crate::fail::ARGUMENTS);
        assert_eq!(code("get a --count-only", Format::Simple), refused);
        assert_eq!(code("get a --count-only", Format::Fields), Ok(()));
        assert_eq!(code("get a --count-only", Format::Json), Ok(()));
        assert_eq!(code("get a --print-value-only", Format::Json), refused);
        assert_eq!(code("get a --print-value-only --keys-only", Format::Simple), Ok(()), "empty lines");
        assert_eq!(code("get a --print-value-only", Format::Simple), Ok(()));
    }

    #[test]
    fn a_piped_value_keeps_its_bytes() {
        let raw = vec![0, 0xff, b'k', 0xc3];
        let request = put_request(&given("put k"), Some(raw.clone())).unwrap();
        assert_eq!(&request.value[..], &raw[..]);
    }

    #[test]
    fn an_empty_input_is_no_value() {
        let refused = put_request(&given("put k"), Some(vec![])).unwrap_err();
        let told = "put command needs 1 argument and input from stdin or 2 arguments";
        assert_eq!(refused, Fail::arguments(told));
        assert_eq!(put_request(&given("put k --ignore-value"), None).unwrap().value, "");
    }

    #[test]
    fn a_range_is_warned_of_unless_a_flag_says_that_it_is_meant() {
        let told = range_warning(&given("del a b")).unwrap();
        assert!(told.starts_with("Warning: Keys between \"a\" and \"b\" will be deleted."), "{told}");
        for line in ["del a", "del a --prefix", "del a --from-key", "del a b --range"] {
            assert_eq!(range_warning(&given(line)), None, "{line}");
        }
    }
}
