use super::*;

fn view() -> LessonView {
    LessonView {
        id: "t/04".into(),
        title: "Run a pod".into(),
        steps: 3,
        step_id: "run".into(),
        prose: "**A pod** is small.".into(),
        task: "Start a pod.".into(),
        checks: vec![
            Check { that: "it exists".into(), state: Verdict::Met },
            Check { that: "it is ready".into(), state: Verdict::Unmet },
        ],
        ..LessonView::default()
    }
}
const PLAIN: PageStyle = PageStyle { lang: Lang::En, width: 60, colour: false, beside: false };

#[test]
fn a_step_is_shown_with_its_task_and_checks() {
    let page = PLAIN.page(&view());
    for part in [
        "── 04 Run a pod · step 1 of 3 ──",
        "A pod is small.",
        "▸ Start a pod.",
        "✓ it exists",
        "· it is ready",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_list_names_each_track_by_its_title() {
    let entry = |id: &str| {
        let track = id.split('/').next().unwrap_or_default().to_string();
        Entry { id: id.into(), track, steps: 1, ..Entry::default() }
    };
    let entries = [entry("first-voyage/01"), entry("first-voyage/02"), entry("harbour/01")];
    let korean = PageStyle { lang: Lang::Ko, ..PLAIN }.list(&entries, "");
    assert_eq!(korean.matches("첫 항해 (first-voyage)").count(), 1, "{korean}");
    assert!(PLAIN.list(&entries, "").starts_with("First voyage (first-voyage)\n"));
    assert!(korean.contains("\nharbour\n"), "{korean}");
}

#[test]
fn a_page_is_as_wide_as_a_narrow_terminal_and_no_wider_than_is_pleasant() {
    assert_eq!([40, 75, 78, 200].map(PageStyle::fitting), [40, 75, 78, 78]);
    assert!(PageStyle::for_output(Lang::Ko).width <= PageStyle::WIDEST);
}

#[test]
fn the_list_says_what_comes_first_unless_it_stands_right_above() {
    let entry = |number: &str, done, first: &[&str]| Entry {
        id: format!("t/{number}"),
        title: format!("Lesson {number}"),
        track: "t".into(),
        steps: 2,
        done,
        first: first.iter().map(ToString::to_string).collect(),
        ..Entry::default()
    };
    let entries = [
        entry("04", 0, &[]),
        entry("05", 0, &["t/04"]),
        entry("07", 0, &["t/04", "u/01"]),
        entry("08", 2, &["t/04"]),
    ];
    let first = |at| first(Lang::En, &entries, at);
    assert_eq!([first(0), first(1), first(3)], [None, None, None]);
    assert_eq!(first(2).as_deref(), Some("first: lesson 04, u/01, not done yet"));
    let list = PLAIN.list(&entries, "");
    assert!(list.contains("0/2") && list.contains("       first: lesson 04, u/01, not done yet\n"), "{list}");
    assert_eq!(list.matches("first:").count(), 1, "{list}");
}

/// A terminal would break a longer line inside a word.
#[test]
fn no_sentence_is_wider_than_the_terminal() {
    let answer = |state| Answer { given: Some("app=*x*".into()), state, ..Answer::default() };
    let over = LessonView {
        state: State::Done,
        step: 2,
        finished: true,
        next: Some(("t/05".into(), "A title of some words that say what it is about".into())),
        ..view()
    };
    for lang in [Lang::En, Lang::Ko] {
        let style = PageStyle { lang, width: 40, ..PLAIN };
        let mut told = vec![style.page(&LessonView::default()), style.over(&over)];
        told.push(style.over(&LessonView { next: None, ..over.clone() }));
        for state in [Judged::Right, Judged::Wrong, Judged::Unknown, Judged::Early] {
            let judged = style.judged(&LessonView { answer: Some(answer(state)), ..view() });
            assert!(judged.contains("app=*x*"), "{judged}");
            told.push(judged);
        }
        for told in told {
            assert!(told.lines().all(|line| prose::cells(line) <= 40), "{told}");
        }
    }
}

#[test]
fn who_is_stuck_is_offered_a_hint_once() {
    let stuck = || LessonView { is_stuck: true, hints_left: 1, ..view() };
    let told = news(&PLAIN, &view(), &stuck()).unwrap();
    assert!(told.contains("`hint`"), "{told}");
    assert_eq!(news(&PLAIN, &stuck(), &stuck()), None);
    let beside = PageStyle { beside: true, ..PLAIN };
    assert_eq!(news(&beside, &view(), &stuck()), None, "it stands in the lesson's pane");
    let late = LessonView { not_yet: Some("it is ready".into()), ..stuck() };
    let told = news(&PLAIN, &view(), &late).unwrap();
    assert!(told.contains("not yet: it is ready") && told.contains("`hint`"), "{told}");
}

#[test]
fn what_is_missing_does_not_break_into_the_shell_beside_the_lesson() {
    let beside = PageStyle { beside: true, ..PLAIN };
    let late = LessonView { not_yet: Some("it is ready".into()), ..view() };
    let lost = LessonView { lost: Some("It is gone.".into()), ..view() };
    for now in [late, lost] {
        assert!(news(&PLAIN, &view(), &now).is_some(), "in lines there is no other place for it");
        assert_eq!(news(&beside, &view(), &now), None);
    }
    let done = LessonView { state: State::Done, ..view() };
    assert!(news(&beside, &view(), &done).is_some_and(|told| told.contains("Done.")));
}

#[test]
fn conditions_are_counted_and_the_missing_one_is_named() {
    let check = |that: &str, state| Check { that: that.into(), state };
    let all = vec![
        check("it exists", Verdict::Holding),
        check("it answers", Verdict::Unmet),
        check("it is listed", Verdict::Unmet),
    ];
    let open = LessonView { checks: all.clone(), unmet: Some(2), ..view() };
    let told = |lang: Lang, view: &LessonView| PageStyle { lang, ..PLAIN }.verdict(view);
    let english = told(Lang::En, &open);
    assert!(english.contains("1 of 3 conditions is met; not yet: it is listed"), "{english}");
    let korean = told(Lang::Ko, &open);
    assert!(korean.contains("조건 1개 충족(전체 3개). 남은 조건: it is listed"), "{korean}");
    let mut more = all.clone();
    more[2].state = Verdict::Met;
    let more = LessonView { checks: more, unmet: Some(1), ..view() };
    assert!(told(Lang::En, &more).contains("2 of 3 conditions are met; not yet: it answers"));
    let waits = LessonView { unasked: 1, ..open.clone() };
    assert!(missing(Lang::En, &waits).ends_with("not yet: it is listed (not looked at yet: 1)"));
    assert!(missing(Lang::Ko, &waits).ends_with("it is listed (아직 확인하지 않은 조건: 1개)"));
    // An engine that has not judged yet names none.
    let fresh = LessonView { checks: all, ..view() };
    assert!(missing(Lang::En, &fresh).ends_with("not yet: it answers"), "what holds is not missing");
    let one = LessonView { checks: vec![check("it exists", Verdict::Unmet)], ..view() };
    assert_eq!(missing(Lang::En, &one), "Not yet: it exists");
    let holds = LessonView { checks: vec![check("it exists", Verdict::Holding)], ..view() };
    assert!(missing(Lang::En, &holds).contains("stay so for a moment"));
    let asked = LessonView { answer: Some(lab::view::Answer::default()), ..holds };
    assert!(missing(Lang::En, &asked).ends_with("Now answer the question."), "to wait is not enough");
}

#[test]
fn a_lost_base_is_told_as_the_engine_says_it() {
    let lost = "This step builds on something that is gone: pods/web. `goto run` brings it back.";
    let page = PLAIN.page(&LessonView { lost: Some(lost.into()), ..view() });
    let told = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("! This step builds on something that is gone: pods/web."), "{page}");
    assert!(told.contains("goto run") && !told.contains("undo"), "{page}");
    let predict = Some(Predict { question: "Where?".into(), ..Predict::default() });
    let asked = LessonView { lost: Some(lost.into()), task: String::new(), predict, ..view() };
    assert!(PLAIN.page(&asked).contains("! This step builds on"), "before the question, too");
}

#[test]
fn a_question_about_the_cluster_stands_below_the_task_and_reveals_nothing() {
    use lab::view::Answer;
    let cards = vec![("a".to_string(), "API server".to_string()), ("b".into(), "kubelet".into())];
    let asked = |state, given: Option<&str>| {
        let question = "Who stores it?".to_string();
        let given = given.map(String::from);
        let cards = cards.clone();
        let answer = Answer { question, form: Form::Choices, cards, given, state, ..Answer::default() };
        PLAIN.page(&LessonView { answer: Some(answer), ..view() })
    };
    let page = asked(Judged::Missing, None);
    let places = ["▸ Start a pod.", "· it is ready", "? Who stores it?", "a  API server", "`answer`"];
    assert!(places.map(|part| page.find(part)).is_sorted(), "{page}");
    assert!(places.iter().all(|part| page.contains(part)) && !page.contains("Not right"), "{page}");
    assert!(asked(Judged::Wrong, Some("kubelet")).contains("Not right: kubelet."));
    assert!(asked(Judged::Unknown, Some("kubelet")).contains("cannot be checked"));
    let right = asked(Judged::Right, Some("API server"));
    assert!(right.contains("✓ Right: API server") && !right.contains("Choose all"), "{right}");
}

#[test]
fn a_part_of_the_right_choices_is_told_with_how_many_are_missing() {
    use lab::view::Answer;
    let answer =
        Answer { given: Some("etcd".into()), state: Judged::Wrong, more: Some(1), ..Answer::default() };
    let told = PLAIN.judged(&LessonView { answer: Some(answer), ..view() });
    assert!(told.contains("Right so far: etcd. 1 more") && !told.contains("Not right"), "{told}");
}

#[test]
fn a_question_stands_alone() {
    let question = Predict {
        question: "Where?".into(),
        choices: vec![("a".into(), "Here".into())],
        ..Predict::default()
    };
    let asked = LessonView { predict: Some(question), task: String::new(), ..view() };
    let page = PLAIN.page(&asked);
    assert!(page.contains("? Where?") && page.contains("a  Here") && !page.contains("it exists"), "{page}");
    // `check`, and news after a while without success.
    let checked = LessonView { not_yet: Some("it is ready".into()), ..asked.clone() };
    for told in [PLAIN.verdict(&checked), news(&PLAIN, &asked, &checked).unwrap_or_default()] {
        assert!(told.contains("? Where?") && !told.contains("it is ready"), "{told}");
    }
    let lost = LessonView { lost: Some("pods/web is gone.".into()), ..asked.clone() };
    assert_eq!(news(&PLAIN, &asked, &lost).as_deref(), Some("! pods/web is gone.\n"));
}

#[test]
fn an_answer_stands_above_the_task_and_the_end_of_a_lesson_says_what_it_was_for() {
    let page = PLAIN.page(&LessonView { after: "Only a record.".into(), ..view() });
    let places = ["A pod is small.", "Only a record.", "▸ Start a pod."].map(|part| page.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{page}");
    let over = LessonView {
        state: State::Done,
        finished: true,
        closing: "**You can now** run a pod.".into(),
        ..view()
    };
    assert!(PLAIN.over(&over).contains("You can now run a pod."));
    assert!(!PLAIN.over(&view()).contains("You can now"));
}

#[test]
fn only_the_last_step_of_a_finished_lesson_leads_to_the_next_lesson() {
    let next = Some(("t/05".to_string(), "More".to_string()));
    let at = |step| LessonView { step, finished: true, state: State::Done, next: next.clone(), ..view() };
    assert!(PLAIN.over(&at(2)).contains("`next` opens t/05 More"));
    let again = PLAIN.over(&at(0));
    assert!(again.contains("`next` goes on") && !again.contains("t/05"), "{again}");
}

#[test]
fn the_last_step_of_a_finished_lesson_names_what_to_do_alone() {
    let at = |step, then| {
        let view = LessonView { step, finished: true, state: State::Done, ..view() };
        LessonView { then: Some(then), ..view }
    };
    let lab = || Then::Lab("wrong-port".into());
    let drill = Then::Drill(["logs", "exec"].map(String::from).to_vec());
    let beside = PageStyle { beside: true, ..PLAIN };
    for told in [PLAIN.over(&at(2, lab())), beside.over(&at(2, lab()))] {
        assert!(told.contains("lab start wrong-port"), "{told}");
    }
    assert!(!PLAIN.over(&at(0, lab())).contains("lab start"), "an earlier step");
    let korean = PageStyle { lang: Lang::Ko, ..PLAIN }.over(&at(2, drill));
    assert!(korean.contains("drill --skill logs,exec"), "{korean}");
}

#[test]
fn someone_at_the_prompt_hears_of_success_once() {
    let before = view();
    let done = LessonView { state: State::Done, debrief: vec!["It was stored.".into()], ..view() };
    assert!(news(&PLAIN, &before, &done).is_some_and(|n| n.contains("It was stored.")));
    assert_eq!(news(&PLAIN, &done, &done), None);
    let other = LessonView { step_id: "next".into(), ..done.clone() };
    assert_eq!(news(&PLAIN, &before, &other), None);
}

/// Beside a small pane the cards would be at the end of a text that has to be scrolled.
#[test]
fn beside_the_pane_a_step_that_begins_with_cards_shows_them_in_the_shell() {
    let beside = PageStyle { beside: true, ..PLAIN };
    let cards = vec![("a".to_string(), "etcd".to_string()), ("b".to_string(), "the kubelet".to_string())];
    let answer = Answer { question: "In which order?".into(), form: Form::Order, cards, ..Answer::default() };
    let asks = LessonView { answer: Some(answer), ..view() };
    let page = beside.page(&asks);
    for part in ["▸ Start a pod.", "? In which order?", "b  the kubelet", "step 1 of 3"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    // With a guess they are shown after it, and without cards the pane has room.
    let guesses = LessonView { predict: Some(Predict::default()), ..asks.clone() };
    let bare = LessonView {
        answer: Some(Answer { cards: vec![], ..asks.answer.clone().unwrap_or_default() }),
        ..asks
    };
    for view in [guesses, bare, view()] {
        assert_eq!(beside.page(&view).lines().count(), 1, "{}", beside.page(&view));
    }
}
