//! What the prompt says of practice, in English and Korean.

use crate::texts::Lang;
use clock::Timestamp;
use lang::texts;

texts! {
    /// One entry of the table.
    pub(crate) enum Say {
    // -- a drill
    Head: "Drill · seed {} · tasks: {} · {} minutes", "연습 · 시드 {} · 과제 {}개 · {}분";
    Place: "Everything is in the namespace `{}`: add `-n {}` to your commands.", "모든 과제는 `{}` 네임스페이스에서 합니다. 명령에 `-n {}` 옵션을 붙이세요.";
    Keys: "`drill check` says what is missing, `drill hint` helps, `drill skip` leaves this task, `drill stop` ends the drill.", "`drill check`는 남은 조건, `drill hint`는 힌트, `drill skip`은 건너뛰기, `drill stop`은 끝내기입니다.";
    Task: "{}/{} · {} left", "{}/{} · 남은 시간 {}";
    TaskAlone: "{}/{}", "{}/{}";
    Done: "done in {} s", "{}초 만에 완료";
    Helped: "done with the last hint", "마지막 힌트를 보고 완료";
    Skipped: "skipped", "건너뜀";
    Unfinished: "not finished; it does not count", "끝내지 못함 (기록하지 않음)";
    NotItsTurn: "not its turn yet", "아직 차례가 아닙니다";
    Again: "again {}", "다음 연습: {}";
    AgainFirst: "first in the next drill", "다음 연습에서 먼저 나옴";
    NotBegun: "The drill was stopped before it began.", "연습을 시작하기 전에 끝냈습니다.";
    NoSuchTask: "this drill has no task {}", "이 연습에 {} 과제는 없습니다";
    SeedPlace: "write `--seed` after `drill start` or `drill test`, and `--skill` after `drill start`", "`--seed`는 `drill start`나 `drill test` 뒤에, `--skill`은 `drill start` 뒤에 씁니다";
    NoNext: "A drill goes on by itself when a task is done; `skip` leaves this task.", "과제를 완료하면 자동으로 다음 과제로 넘어갑니다. 이 과제를 건너뛰려면 `skip`을 입력하세요.";
    NoSolve: "A drill plays no solution: `hint` helps, and `skip` leaves this task. `stop` ends the drill; then `solve` plays the open step of the lesson.", "연습에서는 풀이를 실행하지 않습니다. 도움이 필요하면 `hint`를, 이 과제를 건너뛰려면 `skip`을 입력하세요. `stop`으로 연습을 끝내면 `solve`로 열린 강의의 단계를 풀 수 있습니다.";
    LittleTime: "30 seconds are left.", "30초 남았습니다.";
    Finished: "The drill is over: {} of {} done.", "연습이 끝났습니다. 과제 {}개 완료(전체 {}개).";
    TimeOver: "Time is up: {} of {} done. What you did counts.", "시간이 다 되었습니다. 과제 {}개 완료(전체 {}개). 완료한 과제는 기록되었습니다.";
    Stopped: "The drill was ended: {} of {} done. What you did counts.", "연습을 끝냈습니다. 과제 {}개 완료(전체 {}개). 완료한 과제는 기록되었습니다.";
    After: "`progress` shows your skills, `drill` begins a new drill, `drill --seed {}` repeats this one.", "`progress`로 익힌 기술을 보고, `drill`로 새 연습을, `drill --seed {}` 명령으로 같은 연습을 다시 시작합니다.";
    NoDrill: "No drill is open. `drill` begins one.", "진행 중인 연습이 없습니다. `drill`로 시작하세요.";
    Preparing: "preparing the drill …", "연습을 준비하는 중 …";
    NotYet: "Not yet: {}", "남은 조건: {}";
    AllMet: "All conditions are met now. They have to stay true for a moment.", "지금은 모든 조건을 충족합니다. 이 상태가 잠시 유지되어야 합니다.";
    Hint: "hint {}:", "힌트 {}:";
    HintsLeft: "({} more)", "(남은 힌트 {}개)";
    HintsOver: "(no more)", "(더 없습니다)";
    // -- times
    Now: "now", "지금";
    InHours: "in {} h", "{}시간 뒤";
    InDays: "in {} days", "{}일 뒤";
    SinceHours: "for {} h", "{}시간 전부터";
    SinceDays: "for {} days", "{}일 전부터";
    // -- the map
    Lessons: "Lessons", "강의";
    LessonsDone: "{} of {} done", "{}개 완료(전체 {}개)";
    Labs: "Labs", "실습";
    LabsPassed: "{} of {} passed · {} of {} points", "{}개 통과(전체 {}개) · {}점(만점 {}점)";
    LabsNone: "none of {} graded yet", "채점받은 실습이 아직 없음(전체 {}개)";
    Skills: "Skills", "익힌 기술";
    SkillsCount: "{} fresh · {} due · {} rusty · {} not met", "익숙함 {} · 복습할 때 {} · 잊혀 가는 중 {} · 배우기 전 {}";
    Legend: "due: time to practise · rusty: the last try failed, or due for a week", "복습할 때: 복습할 시간이 됨 · 잊혀 가는 중: 지난번에 완료하지 못했거나 복습할 시간이 일주일 넘게 지남";
    Fresh: "fresh", "익숙함";
    Due: "due", "복습할 때";
    Rusty: "rusty", "잊혀 가는 중";
    NotMet: "not met", "배우기 전";
    Failed: "the last try failed", "지난번에 완료하지 못함";
    LessonId: "lesson {}", "강의 {}";
    LabId: "lab {}", "실습 {}";
    ToPractise: "`drill` gives two minutes of practice: rusty skills first, then those due.", "`drill`로 2분 동안 연습합니다. 잊혀 가는 기술, 복습할 기술 순서로 나옵니다.";
    ToBegin: "You have not learned any of these yet. `lesson {}` is the first lesson that teaches one of these.", "아직 배운 기술이 없습니다. 이 기술을 처음 배우는 강의는 `lesson {}`입니다.";
}
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Returns when a skill is due: `in 3 h`, `in 24 h`, `in 7 days`. A part of an hour or a day counts
/// as a whole one. Words of the calendar would need the learner's time zone: twenty hours from now
/// may be this evening.
pub(super) fn until(lang: Lang, due: Timestamp, now: Timestamp) -> String {
    let seconds = due.duration_since(now).as_secs();
    let counted_up = |unit: i64| seconds.saturating_add(unit - 1).div_euclid(unit).to_string();
    match seconds {
        ..=0 => lang.say(Say::Now, &[]),
        1..=DAY => lang.say(Say::InHours, &[&counted_up(HOUR)]),
        _ => lang.say(Say::InDays, &[&counted_up(DAY)]),
    }
}

/// Returns since when a skill is due: `for 5 h`, `for 8 days`. Only whole hours and days count, and
/// days from the second on.
pub(super) fn since(lang: Lang, due: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(due).as_secs();
    match (seconds.div_euclid(HOUR), seconds.div_euclid(DAY)) {
        (..=0, _) => lang.say(Say::Now, &[]),
        (hours, ..=1) => lang.say(Say::SinceHours, &[&hours.to_string()]),
        (_, days) => lang.say(Say::SinceDays, &[&days.to_string()]),
    }
}
