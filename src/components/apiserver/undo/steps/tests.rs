use super::*;
use crate::auth::user::User;

fn add_step(steps: &Steps, id: &str, first: Revision) {
    add_step_of(steps, "", id, first);
}

fn add_step_of(steps: &Steps, user: &str, id: &str, first: Revision) {
    let step = Step { id: id.into(), user: user.into(), ..Step::default() };
    let value = serde_json::to_vec(&step).unwrap();
    let kv =
        KeyValue { key: key(id).into(), mod_revision: first, value: value.into(), ..KeyValue::default() };
    steps.apply_key(&kv, false);
}

#[test]
fn what_was_undone_is_no_step_until_it_is_forgotten_or_redone() {
    let steps = Steps::default();
    add_step(&steps, "b", 20);
    add_step(&steps, "a", 10);
    let ids = |steps: &Steps| steps.snapshot().done.into_iter().map(|s| s.id).collect::<Vec<_>>();
    assert_eq!((ids(&steps), steps.keep_from(0)), (vec!["a".into(), "b".into()], Some(9)));
    let kept: Vec<_> = [9, 10, 19, 20].map(|oldest| steps.keep_from(oldest)).into();
    assert_eq!(kept, [Some(9), Some(19), Some(19), None], "a step whose past is gone holds nothing");
    let undone = [Undone { steps: vec!["b".into()], before: 25, within: None }];
    let kv = KeyValue { key: UNDONE.into(), value: undone_value(&undone), ..KeyValue::default() };
    steps.apply_key(&kv, false);
    assert_eq!((ids(&steps), steps.snapshot().undone.len()), (vec!["a".into()], 1));
    steps.apply_key(&kv, true);
    assert_eq!(ids(&steps), ["a", "b"]);
    steps.apply_key(&KeyValue { key: key("a").into(), ..KeyValue::default() }, true);
    assert_eq!((ids(&steps), steps.keep_from(0)), (vec!["b".into()], Some(19)));
}

/// Writes at the same time forget the same step; the writes after them make up for it.
#[test]
fn steps_that_are_too_many_are_forgotten() {
    let steps = Steps::default();
    let (first, most) = (1000, STEPS_MAX as Revision + 40);
    (0..most).for_each(|n| add_step(&steps, &format!("s{n}"), first + n));
    let kind = api::kinds::stored("pods").expect("a kind");
    let mut writes = 0;
    while steps.snapshot().done.len() > STEPS_MAX {
        let (info, query, headers) = Default::default();
        let (user, tap) = (User::new("learner", &[]), tap::Tap::new());
        let ctx = Context::new(format!("w{writes}"), user, info, query, headers, tap);
        let mut extra = Extra::default();
        steps.note(&ctx, kind, &Value::Null, &mut extra);
        assert!(extra.release.len() <= FORGOTTEN_AT_ONCE, "{}", extra.release.len());
        for gone in extra.release {
            steps.apply_key(&KeyValue { key: gone.into(), ..KeyValue::default() }, true);
        }
        add_step(&steps, &format!("w{writes}"), first + most + writes);
        writes += 1;
    }
    assert_eq!((writes, steps.find("s42"), steps.snapshot().done.len()), (3, None, STEPS_MAX));
    assert_eq!(steps.keep_from(0), Some(first + 43 - 1));
}

/// One person's program writes without end: the steps of others stay, and can be undone.
#[test]
fn a_flood_of_one_persons_writes_takes_no_steps_of_others() {
    let steps = Steps::default();
    (0..10).for_each(|n| add_step_of(&steps, "bob", &format!("b{n}"), 10 + n));
    for n in 0..2 * STEPS_MAX as Revision {
        let extra = write(&steps, &format!("l{n}"), 100 + n);
        assert!(extra.release.len() <= 1, "{:?}", extra.release);
    }
    let count = |user: &str| steps.snapshot().done.iter().filter(|step| step.user == user).count();
    assert_eq!((count("bob"), count("learner")), (10, STEPS_MAX - 10));
    // Where two people write as much, each has as much: the writer counts with the step that it
    // begins.
    for n in 0..2 * STEPS_MAX as Revision {
        let inner = steps.lock();
        let gone: Vec<String> = inner.surplus("bob").map(|step| key(&step.id)).collect();
        drop(inner);
        gone.iter().for_each(|key| {
            steps.apply_key(&KeyValue { key: key.clone().into(), ..KeyValue::default() }, true);
        });
        add_step_of(&steps, "bob", &format!("c{n}"), 10_000 + n);
    }
    assert_eq!((count("bob"), count("learner")), (STEPS_MAX / 2, STEPS_MAX / 2));
}

/// Under ever new names (`--as`) it is one person's flood all the same.
#[test]
fn a_flood_under_many_names_takes_no_steps_of_others() {
    let steps = Steps::default();
    (0..10).for_each(|n| add_step_of(&steps, "bob", &format!("b{n}"), 10 + n));
    for n in 0..2 * STEPS_MAX as Revision {
        let (info, query, headers) = Default::default();
        let user = User { impersonator: "learner".into(), ..User::new(&format!("x{n}"), &[]) };
        let ctx = Context::new(format!("x{n}"), user, info, query, headers, tap::Tap::new());
        let mut extra = Extra::default();
        steps.note(&ctx, api::kinds::stored("pods").unwrap(), &Value::Null, &mut extra);
        for (key, value) in extra.put {
            let (key, value) = (key.into(), value.into());
            steps.apply_key(&KeyValue { key, mod_revision: 100 + n, value, ..KeyValue::default() }, false);
        }
        for key in extra.release {
            steps.apply_key(&KeyValue { key: key.into(), ..KeyValue::default() }, true);
        }
    }
    let bobs = steps.snapshot().done.iter().filter(|step| step.user == "bob").count();
    assert_eq!((bobs, steps.snapshot().done.len()), (10, STEPS_MAX));
}

fn context(session: &str) -> Context {
    let mut headers = http::HeaderMap::new();
    headers.insert("kubectl-session", session.parse().unwrap());
    let (info, query) = Default::default();
    Context::new("r".into(), User::new("learner", &[]), info, query, headers, tap::Tap::new())
}

/// Does to the steps what the write's transaction does to the store.
fn write(steps: &Steps, session: &str, revision: Revision) -> Extra {
    let mut extra = Extra::default();
    steps.note(&context(session), api::kinds::stored("pods").unwrap(), &Value::Null, &mut extra);
    let kv = |key: &str, value: &str| KeyValue {
        key: key.to_string().into(),
        mod_revision: revision,
        value: value.to_string().into(),
        ..KeyValue::default()
    };
    extra.put.iter().for_each(|(key, value)| steps.apply_key(&kv(key, value), false));
    extra.release.iter().for_each(|key| steps.apply_key(&kv(key, ""), true));
    extra
}

fn undo(steps: &Steps, ids: &[&str], revision: Revision) {
    let ids = ids.iter().map(ToString::to_string).collect();
    let undone = [Undone { steps: ids, before: revision - 1, within: None }];
    let kv = KeyValue {
        key: UNDONE.into(),
        mod_revision: revision,
        value: undone_value(&undone),
        ..KeyValue::default()
    };
    steps.apply_key(&kv, false);
}

/// The store takes 128 operations in one transaction; as many steps may be undone as there are.
#[test]
fn a_long_undo_is_forgotten_in_portions_that_a_transaction_takes() {
    let steps = Steps::default();
    let many: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
    many.iter().enumerate().for_each(|(n, id)| add_step(&steps, id, 10 + n as Revision));
    undo(&steps, &many.iter().map(String::as_str).collect::<Vec<_>>(), 1000);
    let mut writes = 0;
    while !steps.snapshot().undone.is_empty() {
        let session = format!("w{writes}");
        let extra = write(&steps, &session, 1001 + writes);
        assert!(extra.release.len() + extra.put.len() + extra.unchanged.len() <= FORGOTTEN_AT_ONCE + 5);
        assert_eq!(steps.keep_from(0), Some(1000), "what is forgotten holds no history");
        assert!(steps.snapshot().done.iter().all(|s| s.id.starts_with('w')), "no forgotten step comes back");
        assert!(steps.snapshot().undone.iter().all(Undone::is_forgotten), "none can be redone");
        writes += 1;
    }
    assert_eq!(writes as usize, 300usize.div_ceil(FORGOTTEN_AT_ONCE));
    assert_eq!(steps.find("s299"), None);
}

#[test]
fn a_command_that_is_undone_while_it_runs_begins_its_step_anew() {
    let steps = Steps::default();
    write(&steps, "x", 10);
    write(&steps, "x", 11);
    let x = id_of(&context("x").request);
    undo(&steps, &[&x], 20);
    let extra = write(&steps, "x", 21);
    assert!(extra.unchanged.contains(&(key(&x), 10)), "{:?}", extra.unchanged);
    assert!(!extra.release.contains(&key(&x)), "{:?}", extra.release);
    write(&steps, "x", 22);
    let all: Vec<(String, Revision)> = steps.snapshot().done.into_iter().map(|s| (s.id, s.first)).collect();
    assert_eq!(all, [(x, 21)], "all that it writes from now on is one step");
    assert!(steps.snapshot().undone.is_empty());
}

#[test]
fn sessions_that_are_no_names_are_no_shared_step() {
    let of = |user: &str, session: &str| {
        let (id, user, session) = ("r".into(), user.into(), session.into());
        id_of(&tap::Request { id, user, session, ..Default::default() })
    };
    let id = |session: &str| of("kim", session);
    let long = "a".repeat(SESSION_MAX + 1);
    for odd in ["", "!!", "a/b", "\u{ac00}", &long] {
        assert_eq!(id(odd), "r", "{odd}");
    }
    assert!(id(&long[1..]).starts_with(&long[1..]));
    assert!(id("0f8c-1").starts_with("0f8c-1-"));
    assert_ne!(id("0f8c-1"), of("lee", "0f8c-1"), "nobody joins another one's step");
}

#[test]
fn a_write_depends_on_what_was_undone_and_on_its_step_alone() {
    let steps = Steps::default();
    let [x, y] = ["x", "y"].map(|session| id_of(&context(session).request));
    assert_eq!(write(&steps, "x", 10).unchanged, [(UNDONE.to_string(), 0), (key(&x), 0)]);
    assert_eq!(write(&steps, "x", 11).unchanged, [(UNDONE.to_string(), 0)]);
    undo(&steps, &[&x], 20);
    assert_eq!(write(&steps, "y", 21).unchanged, [(UNDONE.to_string(), 20), (key(&y), 0)]);
    assert_eq!(write(&steps, "y", 22).unchanged, [(UNDONE.to_string(), 0)]);
}
