//! What practice says to people, in every language.

use lang::{Lang, texts};

texts! {
    /// Sentences; `{}` stands for what is filled in.
    pub enum Word {
    NoneOpen: "no drill is open; `drill` begins one", "진행 중인 연습이 없습니다. `drill`로 시작하세요";
    IsOpen: "a drill is already open; `drill stop` ends it", "이미 진행 중인 연습이 있습니다. `drill stop`으로 끝낼 수 있습니다";
    LabOpen: "the graded lab {} is open, and a drill would disturb it; grade it, or end it with `lab leave`", "채점 실습({})이 열려 있어 연습을 시작할 수 없습니다. 채점을 받거나 `lab leave`로 끝내세요";
    NoneMet: "there is nothing to practise yet: a drill asks for what you have met in lessons. Begin with the lesson {} “{}”: `lesson {}`", "아직 연습할 것이 없습니다. 연습에서는 강의에서 배운 것만 묻습니다. 먼저 {} “{}” 강의를 마치세요: `lesson {}`";
    Unread: "what you have learned cannot be read, so it is not known what to practise: {}", "배운 내용을 읽을 수 없어 무엇을 연습할지 알 수 없습니다: {}";
    UnreadPart: "A part of what you have learned cannot be read: {}", "배운 내용 가운데 읽을 수 없는 것이 있습니다: {}";
    ResultNotKept: "The last result could not be written into the record: {}", "마지막 결과를 기록하지 못했습니다: {}";
    GoneOn: "that task is over already, so nothing was done; `drill show` shows the present task", "그사이 다른 과제로 넘어가서 아무것도 하지 않았습니다. `drill show`로 지금 과제를 확인하세요";
    NoRevision: "the store does not say its revision", "저장소가 리비전을 알려 주지 않습니다";
    NotKept: "the record of practice cannot be used, so no drill begins: {}", "연습 기록을 사용할 수 없어 시작하지 않았습니다: {}";
    PutAside: "The record of practice was damaged. It was moved to {}, and an empty record was begun.", "연습 기록이 손상되어 {} 파일로 옮기고 새로 시작합니다.";
    SetupFailed: "the drill could not be set up: {}", "연습을 준비하지 못했습니다: {}";
    NotReady: "the task {} was set up, but its objects did not become ready in time; try again", "{} 과제를 준비했지만 시작할 수 있는 상태가 되지 않습니다. 다시 시도하세요";
    NoHint: "there are no further hints", "더 볼 힌트가 없습니다";
    NoName: "every name for the drill's namespace is taken: {}", "연습에 쓸 네임스페이스 이름이 모두 사용 중입니다: {}";
    NoRehearsal: "a drill does not tell its solutions; `drill hint` helps", "연습 중에는 풀이를 볼 수 없습니다. `drill hint`로 힌트를 보세요";
    NoSkill: "there is no skill {}; `progress -o json` lists their ids", "{} 기술은 없습니다. `progress -o json`에서 기술의 id를 볼 수 있습니다";
    NoTask: "there is no task {}", "{} 과제는 없습니다";
    StoppedEarly: "the drill was stopped before it began", "연습을 시작하기 전에 끝냈습니다";
    Preparing: "the drill is still being prepared", "연습을 아직 준비하는 중입니다";
}
}

/// The text in a language given by its code, with each `{}` replaced in order.
pub(super) fn say(lang: &str, word: Word, with: &[&str]) -> String {
    Lang::parse(lang).unwrap_or_default().say(word, with)
}
