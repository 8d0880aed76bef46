//! What the engine itself says to people, in every language.

use super::format::{Declared, declared};
use super::needs::Need;
use lang::{Lang, texts};

texts! {
    /// Sentences; `{}` stands for what is filled in.
    pub enum Word {
    NotAQuestion: "not a question: {}", "알 수 없는 질문입니다: {}";
    StillStarting: "the cluster is still starting; try again", "클러스터를 시작하는 중입니다. 잠시 뒤 다시 시도하세요";
    Busy: "the lesson engine is busy: {} questions wait for it; try again in a moment", "강의 엔진이 다른 일을 하고 있습니다. 이미 질문 {}개가 기다리고 있으니 잠시 뒤 다시 시도하세요";
    Remember: "*Remember: {}*", "*기억하세요: {}*";
    PredictedRight: "You said “{}”: so it was.", "예측한 답은 “{}”, 실제로도 그랬습니다.";
    PredictedWrong: "You said “{}”. It was “{}”.", "예측한 답은 “{}”, 실제 답은 “{}”입니다.";
    PredictedRightUnseen: "You said “{}”: that is the right answer.", "예측한 답은 “{}”, 맞는 답입니다.";
    PredictedWrongUnseen: "You said “{}”. The right answer is “{}”.", "예측한 답은 “{}”, 맞는 답은 “{}”입니다.";
    Costs: "this would take from you: {}. `{}` does it all the same", "다음이 사라지거나 되돌아갑니다: {}. 그래도 하려면 `{}` 명령을 입력하세요";
    CostsMore: "nothing was done: by now this would also take from you: {}. Enter the command again to see everything that it would take", "그사이 다음도 사라지거나 되돌아가게 되어 아무것도 하지 않았습니다: {}. 명령을 다시 입력하면 전체 목록을 볼 수 있습니다";
    CostUnknown: "nothing was done, because it cannot be found out what this would take from you: {}", "무엇이 사라지거나 되돌아가는지 확인할 수 없어 아무것도 하지 않았습니다: {}";
    NotBegun: "lesson {} is not open, and to open it prepares the cluster; `lesson {}` does that", "{} 강의가 열려 있지 않습니다. 강의를 열면 클러스터를 준비하는 명령이 실행됩니다. 열려면 `lesson {}` 명령을 입력하세요";
    NotBack: "the objects could not be put back as they were when the step began: {}. Nothing was changed; enter the same command again", "오브젝트를 단계가 시작할 때의 상태로 되돌리지 못했습니다: {}. 바뀐 것은 없습니다. 같은 명령을 다시 입력하세요";
    OtherCluster: "`{}` needs {}, and this cluster is another. Start that one beside this with `{}`: about {} MB of memory and a minute. `ropewalk --name {}` opens it, and there “{}” begins. `ropewalk reset --name {}` takes it away afterwards. This cluster stays as it is", "`{}`에 필요한 것: {}. 지금 클러스터는 이와 다릅니다. `{}` 명령으로 옆에 하나 더 시작하세요(메모리 약 {} MB, 1분 정도). `ropewalk --name {}` 명령으로 연 다음 “{}” 명령을 입력하면 됩니다. 끝나면 `ropewalk reset --name {}` 명령으로 삭제하세요. 지금 클러스터는 그대로 남습니다";
    NoLesson: "no lesson is open; `lesson` lists them, `lesson ID` opens one", "열려 있는 강의가 없습니다. `lesson` 명령으로 목록을 보고 `lesson ID`로 여세요";
    NoSuchLesson: "there is no lesson {}; `lesson` lists them", "{} 강의는 없습니다. `lesson` 명령으로 목록을 볼 수 있습니다";
    NoSuchStep: "this lesson has no step {}; there are {}", "이 강의에는 {} 단계가 없습니다. 단계: {}";
    BaseGone: "This step builds on something that is gone: {}. `goto {}` brings it back.", "이 단계에 필요한 오브젝트가 없어졌습니다: {}. `goto {}` 명령으로 되돌릴 수 있습니다.";
    Hopeless: "This step can no longer succeed. {} `{}` repairs it.", "이 단계는 이제 끝낼 수 없습니다. {} `{}` 명령으로 되돌리세요.";
    MadeAgain: "What this step builds on was gone, and the steps before it were played again for you: {}", "이 단계에 필요한 오브젝트가 없어져서 앞 단계를 대신 다시 실행했습니다: {}";
    BeginningGone: "This step compares with what there was when it began, and that is no longer kept. `goto {}` begins the step anew.", "이 단계는 시작할 때의 상태와 비교하는데, 그 상태가 더 이상 보관되어 있지 않아 판정할 수 없습니다. `goto {}` 명령으로 단계를 새로 시작하세요.";
    NotDone: "this step is not done yet: try `hint`, or go on with `goto {}`", "이 단계가 아직 끝나지 않았습니다. `hint`를 쓰거나 `goto {}` 명령으로 넘어갈 수 있습니다";
    Holds: "all conditions of this step are met, and have to stay so for {} s more; then enter `next` again", "이 단계의 조건을 모두 충족했습니다. 앞으로 {}초 동안 그대로 유지되어야 합니다. 그 뒤에 `next`를 다시 입력하세요";
    AnswerFirst: "first answer the question: type {}", "먼저 질문에 답하세요. {} 중 하나를 입력하면 됩니다";
    AnswerNow: "first answer the question: {}", "먼저 질문에 답하세요: {}";
    AnswerOdd: "that does not fit the question: type {}", "이 질문에 맞는 형식이 아닙니다. 이렇게 입력하세요: {}";
    AnswerText: "`answer TEXT`", "`answer 답`";
    AnswerNumber: "`answer NUMBER`, in digits and without a unit", "`answer 숫자`(아라비아 숫자만, 단위 없이)";
    AnswerChoices: "`answer` and the letters of all that are right, for example `answer a c`", "`answer` 다음에 맞는 것의 글자를 모두, 예: `answer a c`";
    AnswerOrder: "`answer` and all letters in the right order, for example `answer {}`", "`answer` 다음에 모든 글자를 올바른 순서로, 예: `answer {}`";
    Answered: "Your answer: {}", "내 답: {}";
    AnsweredAfter: "Your answer: {}. Before that: {}", "내 답: {}. 이전 답: {}";
    First: "This lesson builds on lesson {} ({}), which is not done yet. `lesson {}` opens it.", "이 강의는 아직 끝내지 않은 {} 강의({})의 내용을 바탕으로 합니다. `lesson {}` 명령으로 열 수 있습니다.";
    FileIs: "The file `{}` of this lesson:", "이 강의의 `{}` 파일:";
    FirstStep: "this is the first step", "첫 단계입니다";
    AllDone: "this was the last lesson; `lesson` lists them all", "마지막 강의까지 끝났습니다. `lesson` 명령으로 전체 목록을 볼 수 있습니다";
    StepDone: "this step is done; `next` goes on", "이 단계는 끝났습니다. `next`로 계속하세요";
    NoHint: "there are no further hints", "더 볼 힌트가 없습니다";
    NoQuestion: "this step asks no question", "이 단계에는 질문이 없습니다";
    NoSuchChoice: "choose one of {}", "{} 중에서 고르세요";
    Clock: "The cluster's clock runs {} times as fast in this lesson: 5 minutes take {} seconds. Programs run as fast as ever.", "이 강의에서는 클러스터의 시계가 {}배 빠르게 흐릅니다. 5분이 {}초 만에 지나갑니다. 프로그램의 실행 속도는 그대로입니다.";
    NoClock: "This lesson is written for a clock ×{}; it runs in real time here, so waits are longer.", "이 강의는 ×{} 배속 시계를 전제로 합니다. 여기서는 실제 시간으로 진행되어 더 오래 기다려야 합니다.";
    Lacks: "This cluster cannot do this step: it needs {}. `next` passes it; it counts as skipped.", "이 클러스터에서는 이 단계를 할 수 없습니다. 필요한 것: {}. `next`로 넘어갈 수 있고, 건너뛴 것으로 남습니다.";
    Unproved: "What the question's answer says was proved on Ropewalk's own cluster; here nothing can prove it: that needs {}.", "질문의 답은 Ropewalk 자체 클러스터에서 확인한 것입니다. 여기서는 확인할 수 없습니다. 필요한 것: {}";
    NeedHops: "the hops between components, which only Ropewalk's own cluster tells", "컴포넌트 사이의 단계 기록(Ropewalk 자체 클러스터에만 있음)";
    NeedOwnCluster: "`{}`, which only Ropewalk's own cluster has", "`{}`(Ropewalk 자체 클러스터에만 있음)";
    NeedLocalhostPort: "NodePorts on localhost, which only Ropewalk's own cluster opens", "localhost의 NodePort(Ropewalk 자체 클러스터만 엶)";
    NeedOtherNamespace: "the namespace `{}`, and elsewhere a lesson stays in its own", "`{}` 네임스페이스(다른 클러스터에서는 강의 전용 네임스페이스 안에서만 진행)";
    NeedWholeCluster: "a change to the whole cluster (`{}`), and elsewhere a lesson stays in its namespace", "클러스터 전체에 대한 변경(`{}`, 다른 클러스터에서는 강의 전용 네임스페이스 안에서만 진행)";
    NeedNode: "the node `{}` of Ropewalk's own cluster", "Ropewalk 자체 클러스터의 `{}` 노드";
    NeedImage: "the image `{}`, which is built into Ropewalk and in no registry", "`{}` 이미지(Ropewalk에 내장되어 있고 레지스트리에는 없음)";
    NeedWorkers: "worker nodes, {} or more", "워커 노드 {}개 이상";
    NeedControlPlanes: "control-plane nodes, {} or more", "컨트롤 플레인 노드 {}개 이상";
    NeedCluster: "a cluster of Ropewalk's with control planes: {}, workers: {}", "컨트롤 플레인 {}개와 워커 노드 {}개로 된 Ropewalk 클러스터";
    NeedRight: "the right to list and watch {}", "조회(list)와 감시(watch) 권한: {}";
    FreshNamespace: "This lesson is played in a namespace of its own, made just now: {}. Where the lesson says default it means this one, and kubectl in this session looks into it.", "이 강의 전용 네임스페이스를 방금 만들었습니다: {}. 강의에서 default라고 하면 이 네임스페이스를 뜻하며, 이 세션의 kubectl도 이 네임스페이스를 봅니다.";
    Preparing: "Lesson {} is being prepared.", "{} 강의를 준비하고 있습니다.";
    PlayingLesson: "Lesson {} is being prepared: command {} of {} is running. `lesson stop` stops this.", "{} 강의를 준비하고 있습니다. 명령 {}/{} 실행 중입니다. 멈추려면 `lesson stop`을 입력하세요.";
    Playing: "The cluster is being prepared: command {} of {} is running. `lesson stop` stops this.", "클러스터를 준비하고 있습니다. 명령 {}/{} 실행 중입니다. 멈추려면 `lesson stop`을 입력하세요.";
    Stopped: "stopped at command {} of {}: what the commands before it changed stays; enter the same command again to begin anew", "명령 {}/{}에서 멈췄습니다. 앞선 명령이 바꾼 것은 그대로 남습니다. 같은 명령을 다시 입력하면 처음부터 시작합니다";
    FaultsStopped: "Stopped before this step was prepared to its end. `goto {}` begins the step anew.", "이 단계의 준비가 끝나기 전에 멈췄습니다. `goto {}` 명령으로 단계를 새로 시작하세요.";
    NothingPlays: "nothing is being prepared that could be stopped", "멈출 준비 작업이 없습니다";
    TooDear: "An expression of step {} cannot be evaluated ({}): `{}`. Tell the author of the lesson; what it decides stays undecided.", "{} 단계의 식을 계산할 수 없습니다({}): `{}`. 강의 작성자에게 알려 주세요. 이 식에 따른 판정은 내려지지 않습니다.";
    StillHeld: "Stopped with `fault stop` before you opened this lesson, and not started again: {}. To start again: {}.", "이 강의를 열기 전에 `fault stop`으로 멈춘 뒤 다시 시작하지 않은 컴포넌트: {}. 다시 시작하는 명령: {}";
    Fault: "Broken on purpose for this step: {}", "이 단계를 위해 일부러 고장 낸 것: {}";
    FaultFailed: "This could not be broken: {}", "고장 내지 못했습니다: {}";
    SetupFailed: "The setup of this lesson failed: {}. As long as no step is done, `lesson {}` tries it again.", "강의 준비에 실패했습니다: {}. 아직 끝낸 단계가 없으면 `lesson {}` 명령으로 다시 시도할 수 있습니다.";
    StepSetupFailed: "The setup of this step failed: {}. `goto {}` begins the step anew.", "이 단계의 준비에 실패했습니다: {}. `goto {}` 명령으로 단계를 새로 시작하세요.";
    NotResumed: "Lesson {} could not be opened again: {}. `lesson {}` opens it.", "{} 강의를 다시 열지 못했습니다: {}. `lesson {}` 명령으로 열 수 있습니다.";
    JumpCut: "A jump to this step was cut off, and the objects were not put back as they were when it began: {}. `goto {}` does it again.", "이 단계로 이동하던 중에 멈춰서 오브젝트를 시작할 때의 상태로 되돌리지 못했습니다: {}. `goto {}` 명령으로 다시 이동하세요.";
    FaultsEnded: "What was broken on purpose for this step is whole again, because the cluster was started anew. `goto {}` begins the step anew.", "클러스터가 다시 시작되어 이 단계를 위해 낸 고장이 사라졌습니다. `goto {}` 명령으로 단계를 새로 시작하세요.";
    Interrupted: "the cluster had ended meanwhile", "그사이 클러스터가 종료되었습니다";
    NoRewind: "The step begins with the objects as they are now: what they were when it began is no longer kept.", "이 단계는 지금 있는 오브젝트 그대로 시작합니다. 시작할 때의 상태는 더 이상 보관되어 있지 않습니다.";
    NotPlayed: "Not played, because your shell is needed: {}. Go back with `goto {}`; there `solve` plays it, `next` goes on.", "셸이 필요해서 대신 실행하지 못한 단계: {}. `goto {}` 명령으로 돌아가 `solve`를 입력하면 실행되고, `next`로 넘어갑니다.";
    Played: "Earlier steps played for you: {}", "앞 단계를 대신 실행했습니다: {}";
    Broken: "Some lessons could not be read: {}", "읽지 못한 강의가 있습니다: {}";
    Progress: "Your progress cannot be kept: {}", "진행 상황을 저장할 수 없습니다: {}";
}
}

/// A value in a notice, in the language of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum With {
    Text(String),
    /// Steps of the open lesson: their headings are shown.
    Steps(Vec<usize>),
}

impl From<String> for With {
    fn from(text: String) -> With {
        With::Text(text)
    }
}

/// What the learner has to know about the open step.
pub(crate) type Notice = (Word, Vec<With>);

/// The text in a language given by its code, with each `{}` replaced in order.
pub(crate) fn say(lang: &str, word: Word, with: &[&str]) -> String {
    Lang::parse(lang).unwrap_or_default().say(word, with)
}

/// Says that a lesson or lab is played on another cluster than this one, and how to start that.
/// `own`: the name of this one. `begin`: the line that opens the lesson or lab there.
pub(crate) fn other_cluster(lang: &str, declared: &Declared, own: &str, begin: &str) -> String {
    let name = declared::beside(own);
    let (need, memory) = (Need::Cluster(declared.clone()).say(lang), declared.megabytes().to_string());
    let command = declared.command(&name);
    say(lang, Word::OtherCluster, &[begin, &need, &command, &memory, &name, begin, &name])
}

/// Says that a cluster of Ropewalk's own has no namespaces to give up.
pub(crate) fn no_lesson_namespaces(lang: &str, name: &str) -> String {
    cluster::Refusal::NoLessonNamespaces { name: name.into() }.say(Lang::parse(lang).unwrap_or_default())
}

/// Says what a cluster refuses.
pub(crate) fn refused(lang: &str, refused: &cluster::Error) -> String {
    refused.say(Lang::parse(lang).unwrap_or_default())
}

/// The refusal when a learner has agreed to less than would be done by now.
pub(crate) fn plan_changed(lang: &str) -> String {
    cluster::Error::Refusal(cluster::Refusal::PlanChanged).say(Lang::parse(lang).unwrap_or_default())
}

/// The sentence of [`plan_changed`] in a language, if an English refusal of the way back is that
/// one.
pub(crate) fn translated_plan_changed(why: &str, lang: &str) -> Option<String> {
    (why == plan_changed("en")).then(|| plan_changed(lang))
}
