use super::*;
use lab::practice::map::{Grades, LessonLine, Lessons};
use serde_json::json;

fn now() -> Timestamp {
    "2026-03-10T10:00:00Z".parse().unwrap()
}

fn map() -> SkillMap {
    let skill = |id: &str, title: &str, state: &str, due_days: Option<i64>, failed: bool| {
        // In the middle of the day.
        let due = due_days.map(|days| {
            let middle = jiff::SignedDuration::from_hours(days * 24 + 12);
            clock::rfc3339(now() + middle)
        });
        let line = json!({"id": id, "title": title, "state": state, "due": due, "failed": failed,
            "lessons": ["first-voyage/14"], "labs": ["stale-settings"]});
        serde_json::from_value::<SkillLine>(line).unwrap()
    };
    let track = |id: &str, done, all| Track { id: id.into(), done, all };
    let lab = |id: &str, title: &str, score, passed| LabLine {
        id: id.into(),
        title: title.into(),
        score,
        max: 100,
        passed,
    };
    let mut restart =
        skill("restart", "디플로이먼트의 파드를 하나씩 차례대로 다시 시작하기", "notMet", None, false);
    restart.lessons.clear();
    SkillMap {
        lessons: Lessons {
            done: 14,
            all: 33,
            tracks: vec![track("first-voyage", 21, 22), track("control-tower", 0, 11)],
            ..Lessons::default()
        },
        labs: Grades {
            passed: 1,
            all: 22,
            score: 140,
            max: 200,
            list: vec![
                lab("wrong-image", "One of three apps does not start", 40, false),
                lab(
                    "no-lost-guest",
                    "한 요청도 잃지 않고 애플리케이션을 새 버전으로 업데이트하기",
                    100,
                    true,
                ),
            ],
        },
        skills: vec![
            skill("run-pod", "Run a pod", "fresh", Some(6), false),
            skill("logs", "파드의 로그 읽기", "fresh", Some(0), false),
            skill("scale", "Scale a Deployment", "due", Some(-2), false),
            skill("expose", "디플로이먼트에 서비스 붙이기", "due", None, false),
            skill("quota", "Limit a namespace with a quota", "rusty", Some(-9), false),
            skill("pending", "Find out why a pod is Pending", "rusty", Some(0), true),
            skill("roll-back", "Roll back a Deployment", "notMet", None, false),
            restart,
        ],
        ..SkillMap::default()
    }
}

#[test]
fn the_map_in_english() {
    insta::assert_snapshot!(picture(Lang::En, &map(), now(), false));
}

#[test]
fn the_map_in_korean() {
    insta::assert_snapshot!(picture(Lang::Ko, &map(), now(), false));
}

/// A syllable of Hangul takes two cells, and none is cut in half.
#[test]
fn no_line_is_wider_than_eighty_cells() {
    let path = "/home/somebody/.local/share/ropewalk/clusters/main/practice.json";
    let notice = |text: &str| SkillMap { notices: vec![text.replace("{}", path)], ..beginner() };
    let maps = [
        map(),
        notice("{} is damaged: expected value at line 1 column 1; move it away to begin anew"),
        notice("{} 파일이 손상되었습니다: expected value. 새로 시작하려면 파일을 다른 곳으로 옮기세요"),
    ];
    for (lang, map) in [Lang::En, Lang::Ko].into_iter().flat_map(|lang| maps.iter().map(move |m| (lang, m))) {
        for line in picture(lang, map, now(), false).lines() {
            assert!(prose::cells(line) < 80, "{} cells: {line}", prose::cells(line));
        }
    }
}

#[test]
fn colour_repeats_what_the_signs_say() {
    let coloured = picture(Lang::En, &map(), now(), true);
    assert!(coloured.contains("\x1b[32m●\x1b[0m Run a pod"), "{coloured}");
    let mut plain = coloured;
    for code in ["1", "2", "31", "32", "33", "0"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, picture(Lang::En, &map(), now(), false));
}

#[test]
fn what_was_done_with_the_last_hint_is_no_failure() {
    let mut map = map();
    map.skills.retain(|skill| skill.failed);
    // Not the legend, which names failures, too.
    let line_of_skill = |map: &SkillMap| {
        let told = picture(Lang::En, map, now(), false);
        told.lines().find(|line| line.contains("rusty  ")).unwrap_or_default().to_string()
    };
    assert!(line_of_skill(&map).contains("the last try failed"));
    map.skills[0].helped = true;
    let line = line_of_skill(&map);
    assert!(line.contains("done with the last hint") && !line.contains("failed"), "{line}");
}

/// Returns the map of a learner who has learned nothing yet.
fn beginner() -> SkillMap {
    let mut map = map();
    map.skills.retain(|skill| skill.state == State::NotMet);
    let line = |id: &str| LessonLine { id: id.into(), ..LessonLine::default() };
    map.lessons.list = ["first-voyage/01", "first-voyage/13", "first-voyage/14"].map(line).into();
    let mut earlier = map.skills[0].clone();
    earlier.lessons = vec!["first-voyage/13".into()];
    map.skills.push(earlier);
    map
}

#[test]
fn a_beginner_is_told_where_to_begin() {
    let told = picture(Lang::En, &beginner(), now(), false).replace('\n', " ");
    assert!(told.contains("`lesson first-voyage/13` is the first lesson"), "{told}");
}
