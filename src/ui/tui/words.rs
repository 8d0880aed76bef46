//! Everything the interface says, in English and Korean.

use lang::texts;

texts! { pub(crate) enum Word {
    // -- frame
    PaneLesson: "lesson", "강의";
    PaneMap: "map", "그림";
    PaneShell: "shell", "셸";
    Scrolled: "{} lines back", "{}줄 위";
    FootProgram: "F keys go to the program. Ctrl-] then: 1-9,0 = F1-F10 of the frame  Tab pane", "F 키는 프로그램으로 갑니다. Ctrl-] 다음: 1-9,0 = 이 화면의 F1-F10  Tab 창 이동";
    Foot: "F1 help  F2 zoom  F3 view  F4 time  F5 play  F6 pane  F10 quit", "F1 도움말  F2 확대  F3 그림  F4 시간  F5 재생  F6 창 이동  F10 종료";
    FootStrip: "F1 help  F2 map  F3 view  F4 time  F5 play  F6 pane  F10 quit", "F1 도움말  F2 그림 전체  F3 그림 선택  F4 시간  F5 재생  F6 창 이동  F10 종료";
    FootLesson: "↑↓ read  n next  b back  h hint  c check  t type  w words  o list  Esc shell", "↑↓ 읽기  n 다음  b 이전  h 힌트  c 확인  t 입력  w 용어  o 목록  Esc 셸로";
    FootAnswer: "Enter answer  n next  h hint  c check  t type  w words  o list  Esc shell", "Enter 답하기  n 다음  h 힌트  c 확인  t 입력  w 용어  o 목록  Esc 셸로";
    FootDraft: "Enter sends the answer   Esc gives it up", "Enter 답 보내기   Esc 그만두기";
    FootPlaying: "s stops the preparation   Esc to the shell", "s 준비 멈춤   Esc 셸로";
    FootListBack: "↑↓ choose  Enter open  o back  Esc to the shell", "↑↓ 고르기  Enter 열기  o 돌아가기  Esc 셸로";
    FootList: "↑↓ choose  Enter open  Esc to the shell", "↑↓ 고르기  Enter 열기  Esc 셸로";
    FootLab: "↑↓ read  h hint  c check  g grade  u give up  l leave  o list  Esc to the shell", "↑↓ 읽기  h 힌트  c 확인  g 채점  u 포기  l 끝내기  o 목록  Esc 셸로";
    FootPredict: "answer with a letter: {}   w words   o list   Esc to the shell", "글자로 답하세요: {}   w 용어   o 목록   Esc 셸로";
    FootMap: "Space play  ← → step  ↑↓ other  1-{} view  + - speed 1/{}  Esc to the shell", "Space 재생/멈춤  ← → 한 단계  ↑↓ 다른 것  1-{} 그림  + - 속도 1/{}  Esc 셸로";
    FootMapWhole: "F2 back  Space play  ← → step  ↑↓ other  1-{} view  + - speed 1/{}  Esc shell", "F2 뒤로  Space 재생  ← → 단계  ↑↓ 다른 것  1-{} 그림  + - 속도 1/{}  Esc 셸로";
    FootPrefix: "Ctrl-] then: 1-9,0 = F1-F10  f large  Tab pane  PgUp PgDn scroll  z suspend", "Ctrl-] 다음: 1-9,0 = F1-F10  f 확대  Tab 창  PgUp PgDn 스크롤  z 잠시 멈춤";
    CannotSuspend: "nobody could wake this program up again: it was not started by a shell", "셸에서 시작한 프로그램이 아니어서 멈추면 다시 깨울 수 없습니다";
    QuitAgain: "a full-screen program has the shell: the same key again quits", "셸에서 전체 화면 프로그램이 실행 중입니다. 한 번 더 누르면 종료합니다";
    StillAsked: "the last question is still being answered", "앞의 요청을 처리하는 중입니다";
    TypeInShell: "this is the lesson: Esc goes to the shell", "여기는 강의 창입니다. Esc를 누르면 셸로 갑니다";
    NotAtPrompt: "a command runs in the shell: end it first", "셸에서 명령이 실행 중입니다. 먼저 끝내세요";
    StatusNodes: "{} nodes", "노드 {}개";
    StatusPods: "{} pods", "파드 {}개";
    StatusRevision: "revision {}", "리비전 {}";
    StatusLeader: "leader {}", "리더 {}";
    StatusClock: "clock {}", "시계 {}";
    StatusNoLeader: "no leader", "리더 없음";
    StatusTerm: "term {}", "텀 {}";
    StatusStarting: "starting: nodes {}  kube-system {}  {} s", "시작하는 중: 노드 {}  kube-system {}  {}초";
    StatusWaiting: "waiting for the cluster, {} s", "클러스터를 기다리는 중, {}초";
    StatusEnded: "the cluster has ended", "클러스터가 종료되었습니다";
    StatusSilent: "the API server is silent, {} s", "API 서버 응답 없음, {}초";
    StatusLost: "{} records lost", "기록 {}건을 놓침";
    // -- lesson
    LessonAbsentTitle: "No lesson is open", "열린 강의가 없습니다";
    LessonAbsent:
        "The cluster, the map and the shell are yours all the same. Type a command in the shell, for example `kubectl get nodes`, and watch the map.\n\n(No lessons: {})",
        "클러스터, 그림, 셸은 그대로 쓸 수 있습니다. 셸에 `kubectl get nodes` 같은 명령을 입력하고 그림을 보세요.\n\n(강의가 없는 이유: {})";
    LessonWaiting: "Waiting for the lessons, {} s", "강의를 기다리는 중, {}초";
    LessonListHint: "F6 moves here, ↑↓ choose, Enter opens. Or type `lesson {}` in the shell.", "F6으로 이 창에 온 뒤 ↑↓로 고르고 Enter로 엽니다. 셸에서 `lesson {}` 명령을 입력해도 됩니다.";
    LessonNone: "There are no lessons here yet.", "아직 강의가 없습니다.";
    PredictAsk: "Guess first: type {} and Enter", "먼저 예측해 보세요: {} 중 하나와 Enter";
    PredictSaid: "You said {}.", "예측: {}";
    AnswerAsk: "Type `answer VALUE` in the shell, or press Enter here", "셸에서 `answer 값`을 입력하거나 여기서 Enter";
    AnswerAskChoices: "All that are right: `answer a b …` in the shell, or Enter here", "맞는 것 모두: 셸에서 `answer a b …`, 또는 여기서 Enter";
    AnswerAskOrder: "In the right order: `answer b a …` in the shell, or Enter here", "올바른 순서로: 셸에서 `answer b a …`, 또는 여기서 Enter";
    AnswerWaits: "{}: being checked", "{}: 확인하는 중";
    AnswerWrong: "Not right: {}. Look again", "{}: 아닙니다. 다시 살펴보세요";
    AnswerPart: "Right so far: {}. {} more: answer with all letters", "{}: 여기까지는 맞습니다. {}개 더: 모든 글자로 다시 답하세요";
    AnswerUnknown: "{}: cannot be checked now: the cluster is slow", "{}: 지금 확인할 수 없습니다. 클러스터의 응답이 늦습니다";
    AnswerEarly: "Not yet: {}. Do the task first, then answer", "{}: 아직 이릅니다. 과제를 먼저 하고 답하세요";
    Hint: "hint {}", "힌트 {}";
    Stuck: "Stuck? `hint` tells where to look.", "막혔다면 `hint`를 입력하세요.";
    ReadOn: "{} read on: F6 ↑↓", "{} 더 읽기: F6 ↑↓";
    ReadOnHere: "{} read on: ↑↓", "{} 더 읽기: ↑↓";
    ReadAbove: "{} above", "{} 위";
    ReadAboveHow: "{} above: F6 ↑↓", "{} 위: F6 ↑↓";
    ReadAboveHere: "{} above: ↑↓", "{} 위: ↑↓";
    Done: "Done.  `next` goes on", "완료했습니다.  `next`로 계속합니다";
    Solved: "Solved for you.  `next` goes on", "풀이를 대신 실행했습니다.  `next`로 계속합니다";
    Skipped: "This cluster cannot do this step.  `next` goes on", "이 클러스터에서는 할 수 없는 단계입니다.  `next`로 계속합니다";
    What: "What happened", "무슨 일이 있었나";
    Also: "Other ways", "다른 방법";
    FinishedNext: "Lesson finished.  `next` opens {} {}", "강의를 마쳤습니다.  `next`로 계속: {} {}";
    FinishedHome: "Finished.  `next` goes back to your own cluster", "마쳤습니다.  `next`로 원래 클러스터로 돌아갑니다";
    FinishedLast: "The last lesson is finished.  `lab list` shows what comes now", "마지막 강의까지 마쳤습니다.  `lab list`로 실습을 고르세요";
    PlayAgain: "`lesson again` plays this one again", "이 강의를 처음부터 다시 하려면 `lesson again`";
    AskedAgain: "{}; asked again in {} s", "{}. {}초 뒤에 다시 요청합니다";
    Asked: "asked, {} s", "묻는 중, {}초";
    // -- lab
    LabLeft: "{} left", "{} 남음";
    LabLittle: "only {} left", "{}만 남았음";
    LabOver: "time is over", "시간 종료";
    LabReached: "solved in {}", "{} 만에 해결";
    LabShown: "solution shown", "풀이 공개됨";
    LabAbout: "seed {} · level {} · {} min", "시드 {} · 난이도 {} · {}분";
    LabTasks: "Tasks", "과제";
    LabHints: "There is a hint. The record counts it.", "힌트가 있습니다. 사용한 힌트는 기록에 남습니다.";
    LabNoHints: "No further hint fits now.", "지금 맞는 힌트가 더 없습니다.";
    LabGrade: "Grade", "채점 결과";
    LabGradeOld:
        "It is from before your last change; `lab grade` grades the lab again.",
        "마지막으로 바꾸기 전의 결과입니다. `lab grade`로 다시 채점할 수 있습니다.";
    LabPassed: "passed", "통과";
    LabNotPassed: "not passed", "미통과";
    LabCause: "The cause", "원인";
    LabStands: "Done: {} of {}", "해결 {}/{}";
    LabStandsHint: "Done: {} of {} · there is a hint", "해결 {}/{} · 힌트 있음";
    LabStarting: "The lab is being set up, {} s", "실습을 준비하는 중, {}초";
    LabGrading: "The lab is being graded, {} s", "채점하는 중, {}초";
    LabLeaving: "What the lab made is being taken away, {} s", "실습에서 만든 것을 삭제하는 중, {}초";
    LabList: "Labs", "실습";
    LabListHint: "Something is broken: mend it in time, and it is graded. Enter puts `lab start` on the line of the shell.", "고장 난 것을 제한 시간 안에 고치고 채점받습니다. Enter를 누르면 셸에 `lab start`가 적힙니다.";
    // -- the map in two lines
    StripHint: "F2 whole map", "F2 그림 전체";
    StripNodes: "nodes {}/{}", "노드 {}/{}";
    // -- views
    ViewCluster: "cluster", "클러스터";
    ViewControlPlane: "control plane", "컨트롤 플레인";
    ViewRaft: "raft", "래프트";
    ViewScheduling: "scheduling", "스케줄링";
    ViewNetwork: "network", "네트워크";
    ViewRollout: "rollout", "롤아웃";
    ViewPod: "pod", "파드";
    AsksCluster: "where is it?", "어디에 있나?";
    AsksControlPlane: "who did what?", "누가 무엇을 했나?";
    AsksRaft: "who agrees?", "누가 동의했나?";
    AsksScheduling: "why there?", "왜 그 노드인가?";
    AsksNetwork: "how does it get there?", "어떻게 도착하나?";
    AsksRollout: "what replaces what?", "무엇이 무엇을 대신하나?";
    AsksPod: "what is it going through?", "어떤 과정을 거치나?";
    ChooseView: "Which view?", "어느 그림을 볼까요?";
    You: "you", "나";
    Controllers: "controllers", "컨트롤러";
    NodeReady: "Ready", "Ready";
    NodeNotReady: "NotReady", "NotReady";
    Cordoned: "cordoned", "스케줄링 제외";
    System: "system {}", "시스템 {}";
    MoreNodes: "+{} more nodes", "노드 {}개 더";
    NoNodeYet: "no node yet:", "노드 배정 전:";
    MapWaiting: "waiting for the API server, {} s", "API 서버를 기다리는 중, {}초";
    MapAfterGuess: "The map is shown once you have guessed. To see it now, choose a view with F3.", "예측을 마치면 그림이 보입니다. 지금 보려면 F3에서 그림을 고르세요.";
    Quiet: "Run a command: its path lights up.", "명령을 실행하면 요청의 경로가 표시됩니다.";
    Finish: "done after {}", "{} 만에 끝";
    Paused: "paused", "멈춤";
    NoDecision: "No pod has been scheduled yet. Run one: kubectl run web --image=nginx", "아직 스케줄링된 파드가 없습니다. 실행해 보세요: kubectl run web --image=nginx";
    NoService: "There is no Service. To create one: kubectl expose pod NAME --port=80", "서비스가 없습니다. 만드는 명령: kubectl expose pod 이름 --port=80";
    NoRollout: "There is no Deployment yet. Make one: kubectl create deployment web --image=nginx", "아직 디플로이먼트가 없습니다. 만들어 보세요: kubectl create deployment web --image=nginx";
    NoDeployment: "There is no Deployment here.", "디플로이먼트가 없습니다.";
    NotListed: "This user may not list: {}", "이 사용자에게는 조회 권한이 없습니다: {}";
    NoPod: "There is no pod yet. Run one: kubectl run web --image=nginx", "아직 파드가 없습니다. 실행해 보세요: kubectl run web --image=nginx";
    NoMembers: "No pod of etcd is known here, so its members cannot be shown.", "알려진 etcd 파드가 없어 멤버를 표시할 수 없습니다.";
    NoRaft: "Nothing was written to the store yet.", "아직 저장소에 쓰인 것이 없습니다.";
    Node: "node", "노드";
    Filter: "filter", "필터";
    Score: "score", "점수";
    ChosenNode: "chosen: {}", "선택: {}";
    ChosenNobody: "no node fits: the pod waits", "맞는 노드가 없어 파드가 기다립니다";
    ChosenNobodyThen: "no node fitted: the pod waited", "맞는 노드가 없어 파드가 기다렸습니다";
    Lack: "asks {}, free {}", "요청 {}, 남음 {}";
    Gone: "  deleted since", "  삭제됨";
    Fits: "fits", "통과";
    Quorum: "quorum {} of {}", "정족수 {}/{}";
    RaftLog: "log", "로그";
    RaftVotes: "leads, {} of {} votes", "리더, {}/{}표";
    RaftLeads: "leads", "리더";
    RaftFollows: "follows", "팔로워";
    RaftAsks: "asks for votes", "표를 구함";
    RaftOld: "leads term {} no more", "텀 {}의 옛 리더";
    RaftCut: "cut off", "끊김";
    RaftAlone: "alone", "혼자 남음";
    RaftOff: "off", "꺼짐";
    RaftEnd: "committed", "커밋됨";
    RaftOpen: "on disk", "디스크에만";
    RaftLost: "never committed", "커밋되지 못함";
    WritesGoOn: "writes go on", "쓰기 계속";
    WritesWait: "writes wait", "쓰기 대기";
    StoryTimeout: "{} hears no leader", "{}에 리더 소식 없음";
    StoryWould: "{} would vote for {}", "{}: {}에 투표할 뜻";
    StoryStands: "{} stands, term {}", "{} 출마, 텀 {}";
    StoryVotes: "{} votes for {}", "{} → {} 투표";
    StoryRefuses: "{} refuses {}", "{}: {} 거절";
    StoryLeads: "{} leads, term {}", "{} 당선, 텀 {}";
    StoryDown: "{} steps down", "{} 물러남";
    StoryHands: "{} hands over to {}", "{}: {}에 넘김";
    Selects: "selects {}", "셀렉터 {}";
    NoSelector: "selects nothing", "셀렉터 없음";
    Endpoints: "{} of {} endpoints ready", "엔드포인트 {}개 준비됨 (전체 {}개)";
    EndpointsNow: "(replay; ready now: {})", "(재생 중, 지금 준비됨: {}개)";
    Alias: "An alias for a DNS name: it has no endpoints.", "DNS 이름의 별칭이므로 엔드포인트가 없습니다.";
    NoEndpoints: "No pod carries these labels: connections are refused.", "이 레이블을 가진 파드가 없어 연결이 거부됩니다.";
    NoAddresses: "Pods with these labels: {}, none with an address yet.", "이 레이블을 가진 파드: {}개. 아직 주소가 없습니다.";
    NotEndpoints: "Pods with these labels: {}, none of them an endpoint.", "이 레이블을 가진 파드: {}개. 엔드포인트가 된 파드는 없습니다.";
    PickOne: "one of {}, at random", "{}개 중 하나를 무작위로";
    Visits: "connections: {}", "연결 {}건";
    CutBetween: "cut: {}", "끊김: {}";
    RulesWritten: "{}: rules written in {}", "{}: 규칙을 {} 만에 기록";
    Wanted: "{} of {} ready", "{}/{} 준비됨";
    RolloutPaused: "paused", "일시 중지됨";
    Surge: "surge {}, unavailable {}", "추가 {}, 중단 {}";
    RevisionShort: "rev {}", "리비전 {}";
    Restarts: "{} restarts", "재시작 {}회";
    RestartOnce: "1 restart", "재시작 1회";
    On: "on {}", "노드 {}";
    Ended: "ended {}", "{} 삭제됨";
    Undecided: "At this moment the scheduler has not chosen a node yet.", "이 시점에는 스케줄러가 아직 노드를 고르지 않았습니다.";
    Life: "what happened to it", "지나온 길";
    NodeGone: "on a deleted node:", "삭제된 노드의 파드:";
    PlanWanted: "{}: desired {}, ready {}", "{}: 목표 {}, 준비됨 {}";
    PlanWaiting: "waiting {}", "대기 {}";
    PlanStarting: "starting {}", "시작 중 {}";
    PlanLeaving: "leaving {}", "나가는 중 {}";
    PlanFailed: "failed {}", "실패 {}";
    PlanMissing: "refused {}", "생성 거부 {}";
    PlanScaler: "{} to {} pods, now {}", "파드 {}~{}개, 현재 {}개";
    Namespaces: "namespaces: {}", "네임스페이스: {}";
    NamespaceAlone: "namespace {}", "네임스페이스 {}";
    Quota: "quota {}  {}", "쿼터 {}  {}";
    Blocked: "{} {}: {} of {} pods, the next is refused", "{} {}: 파드 {}/{}개, 다음 파드는 생성이 거부됨";
    KindReplicaSet: "ReplicaSet", "레플리카셋";
    KindStatefulSet: "StatefulSet", "스테이트풀셋";
    KindDaemonSet: "DaemonSet", "데몬셋";
    KindJob: "Job", "잡";
    BlockedWhy: "This pod does not exist, so there is nothing to schedule.", "이 파드는 아직 없으므로 스케줄러가 할 일이 없습니다.";
    NoOwner: "owner: none", "소유자 없음";
    LeaseLate: "{} s", "{}초";
    MapOld: "as it was {} s ago", "{}초 전 모습";
    // -- the views of one object where there is room
    AgeSeconds: "{} s", "{}초";
    AgeMinutes: "{} min", "{}분";
    AgeHours: "{} h", "{}시간";
    AgeDays: "{} d", "{}일";
    Created: "created {}", "{} 생성";
    Owner: "owner: {}", "소유자: {}";
    GaugePods: "pods", "파드";
    GaugeMin: "min {}", "최소 {}";
    GaugeMax: "max {}", "최대 {}";
    GaugeNow: "now {}, ready {}", "현재 {}, 준비됨 {}";
    History: "history", "이력";
    Earlier: "earlier decisions", "이전 결정";
    PhaseScheduled: "scheduled", "스케줄됨";
    PhaseInitialized: "initialised", "초기화됨";
    PhaseContainers: "containers ready", "컨테이너 준비됨";
    PhaseReady: "ready", "준비됨";
    ContainerInit: "init {}", "초기화 {}";
    ContainerNone: "nothing reported yet", "아직 보고 없음";
    ContainerRunning: "running", "실행 중";
    ContainerSince: "running since {}", "{}부터 실행 중";
    ContainerWaiting: "waiting: {}", "대기: {}";
    ContainerEnded: "{}, exit code {}", "{}, 종료 코드 {}";
    ContainerLast: "ended before: {}", "직전 종료: {}";
    ContainerBackOff: "back-off {}", "백오프 {}";
    Probes: "probes: {}", "프로브: {}";
    Events: "events", "이벤트";
    RaftSingle: "One member is a majority by itself: no other vote is needed.", "멤버가 하나면 혼자서 과반수이므로 다른 멤버의 표가 필요 없습니다.";
    RaftEntries: "entries", "엔트리";
    LinkCut: "cut", "끊김";
    RaftEntry: "entry", "엔트리";
    RaftObject: "object", "오브젝트";
    RaftRevision: "revision", "리비전";
    TermShort: "term", "텀";
    LineTimeout: "hears no leader", "리더 소식 없음";
    LineWould: "would vote", "투표할 뜻";
    LineStands: "stands, term {}", "출마, 텀 {}";
    LineVotes: "votes", "투표";
    LineRefuses: "refuses", "거절";
    LineLeads: "leads, term {}", "당선, 텀 {}";
    LineDown: "steps down", "물러남";
    LineHands: "hands over", "넘김";
    EndpointGets: "gets connections", "연결을 받음";
    EndpointIdle: "gets nothing", "연결 없음";
    EndpointWaits: "not ready", "준비 안 됨";
    EndpointLeaves: "leaving", "나가는 중";
    NotInSlice: "not in a slice", "슬라이스에 없음";
    RefusedPort: "localhost:{} is closed: connections are refused here", "localhost:{} 닫힘: 연결이 여기서 거부됩니다";
    RefusedTarget: "no endpoint has this port: connections refused here", "이 포트를 가진 엔드포인트 없음: 연결이 거부됩니다";
    RefusedRules: "no endpoint is ready: connections are refused here", "준비된 엔드포인트 없음: 연결이 여기서 거부됩니다";
    // -- the control plane's sentences, at most 73 cells
    WhyStages: "Each request passes these gates in order before anything is stored.", "모든 요청은 저장되기 전에 이 관문을 차례로 통과합니다.";
    WhyStored: "Only the API server talks to etcd. It is a record; nothing runs yet.", "etcd와는 API 서버만 통신합니다. 기록만 했고, 아직 실행된 것은 없습니다.";
    WhyAnswered: "kubectl is done here. What follows happens without it.", "kubectl은 여기서 끝납니다. 나머지는 kubectl 없이 진행됩니다.";
    WhyPodAnswered: "A server in the pod answered. The API server passed it on.", "파드 안의 서버가 응답했고 API 서버는 그대로 전달했습니다.";
    WhyRefused: "The request ended at this gate. Nothing was stored.", "요청이 이 관문에서 끝나 아무것도 저장되지 않았습니다.";
    WhyDeployments: "Why this controller? It watches Deployments and writes ReplicaSets.", "왜 이 컨트롤러인가? 디플로이먼트를 지켜보고 레플리카셋을 관리합니다.";
    WhyReplicaSets: "Why this controller? It compares the pods there are with those wanted.", "왜 이 컨트롤러인가? 현재 파드 수와 의도한 파드 수를 비교합니다.";
    WhyControllers: "Why a controller? Each compares what is wanted with what there is.", "왜 컨트롤러인가? 의도한 상태와 현재 상태를 비교합니다.";
    WhyScheduler: "Why the scheduler? It watches pods without a node; it gets no calls.", "왜 스케줄러인가? 호출받는 것이 아니라, 노드가 없는 파드를 지켜봅니다.";
    WhyKubelet: "Why this kubelet? It watches the pods that are bound to its node.", "왜 이 kubelet인가? 자기 노드에 배정된 파드를 지켜봅니다.";
    WhyProxy: "Why the proxy? It watches Services and endpoints, and writes rules.", "왜 프록시인가? 서비스와 엔드포인트를 지켜보고 규칙을 기록합니다.";
    // -- hops
    HopStage: "api: {}", "api: {}";
    HopStored: "etcd: stored as revision {}", "etcd: 저장, 리비전 {}";
    HopStoredPlain: "etcd: stored", "etcd: 저장";
    HopAnswered: "api → {}: {} {}", "api → {}: {} {}";
    HopPodAnswered: "api → {}: {} {}, the pod answered", "api → {}: {} {}, 파드의 응답";
    HopRefused: "api → {}: {} {}, refused by {}", "api → {}: {} {}, {}에서 거부";
    BriefRefused: "✗ {} {}", "✗ {} {}";
    HopAskedRefused: "{} → api: {} {}: {}, refused by {}", "{} → api: {} {}: {}, {}에서 거부";
    FinishFailed: "ended with {} after {}", "{} 오류로 실패, {}";
    FinishRefused: "{}: refused by {} ({})", "{}: {}에서 거부({})";
    GateAuthentication: "authentication", "인증";
    GateAuthorization: "authorization", "인가";
    GateAdmission: "admission", "어드미션";
    GateValidation: "validation", "검증";
    HopAsked: "{} → api: {} {}", "{} → api: {} {}";
    HopPodAsked: "{} → api: {} {}, the pod answered", "{} → api: {} {}, 파드의 응답";
    HopAskedRevision: "{} → api: {} {}, revision {}", "{} → api: {} {}, 리비전 {}";
    HopScheduled: "scheduler: {} of {} nodes fit, chose {}", "스케줄러: 노드 {}/{}개 통과, {} 선택";
    HopNobody: "scheduler: none of {} nodes fits", "스케줄러: 노드 {}개 중 맞는 것이 없음";
    HopBound: "scheduler: bound to {}", "스케줄러: {} 노드에 배정";
    BriefAsked: "{} → rev {}", "{} → 리비전 {}";
    BriefStored: "etcd: revision {}", "etcd: 리비전 {}";
    BriefScheduled: "scheduler: {} of {}, {}", "스케줄러: {}/{}, {}";
    BriefFit: "{} of {} fit: {}", "{}/{} 통과: {}";
    BriefNobody: "0 of {} fit", "0/{} 통과";
    BriefBound: "scheduler: → {}", "스케줄러: → {}";
    HopKubelet: "kubelet {}: {}", "kubelet {}: {}";
    HopProxy: "proxy {}: {} rules, {} changed", "proxy {}: 규칙 {}개, {}개 바뀜";
    HopTold: "{}: {}", "{}: {}";
    HopScale: "scale {} {} → {}", "스케일 {} {} → {}";
    HopHave: "{} of {}", "{}/{}";
    HopCreate: "{} of {}: create {}", "{}/{}: {}개 생성";
    HopDelete: "{} of {}: delete {}", "{}/{}: {}개 삭제";
    HopEndpoints: "endpoints {}: {} of {} ready", "엔드포인트 {}: {}개 준비됨 (전체 {}개)";
    // -- time
    TimeTitle: "time: what was done, newest first", "시간: 지금까지 한 일, 최근 것부터";
    TimeNone: "Nothing was changed yet.", "아직 바뀐 것이 없습니다.";
    TimeHint: "Enter puts `rewind` on the line   ↑↓ move   d difference   Esc back", "Enter: `rewind`를 줄에 적기   ↑↓ 이동   d 차이만   Esc 닫기";
    TimeThen: "then: rev {}", "그때: 리비전 {}";
    TimeNow: "now", "지금";
    TimeSame: "No object differs between then and now.", "그때와 지금 사이에 달라진 오브젝트가 없습니다.";
    TimeUnknown: "How the objects were then is not known: this screen was opened later.", "이 화면을 열기 전이어서 그때 오브젝트의 모습은 알 수 없습니다.";
    TimeMore: "+{} more", "{}개 더";
    // -- what the text names
    CommandsTitle: "commands of this text", "본문의 명령";
    CommandsHint: "Enter puts it on the line of the shell and does not run it   Esc back", "Enter: 실행하지 않고 셸의 입력 줄에 적습니다   Esc 닫기";
    CommandLines: "({} lines)", "({}줄)";
    NoCommand: "this text shows no command", "본문에 명령이 없습니다";
    TermsTitle: "words of this text", "본문의 용어";
    TermsHint: "↑↓ another word   Esc back   in the shell: what TERM", "↑↓ 다른 용어   Esc 닫기   셸에서는 what 용어";
    NoTerm: "no word of this text is in the glossary; `what` in the shell lists it", "본문에 용어집의 용어가 없습니다. 셸에서 `what`을 입력하면 모두 볼 수 있습니다";
    // -- the cluster of a lesson or lab
    BesideTitle: "a cluster of its own", "전용 클러스터";
    BesideHint: "Enter starts it   Esc no", "Enter 시작   Esc 취소";
    BesideGoing: "the other cluster is being removed; this is your own", "전용 클러스터를 삭제하는 중입니다. 지금은 원래 클러스터입니다";
    BesideGone: "the other cluster is removed; this is your own", "전용 클러스터를 삭제했습니다. 지금은 원래 클러스터입니다";
    StatusLeave: "`{}` goes back", "`{}`로 돌아가기";
    // -- help
    HelpTitle: "help", "도움말";
    Help:
        "Above: the lesson, and a live map of the cluster.\n\
         Below: a real shell. Type kubectl commands there.\n\
         With less than 110 columns the map has two lines: what it counts, and\n\
         what is not well or new. F2 then shows the whole map, and goes back.\n\
         \n\
         F1   this help                  F6   next pane (Shift-F6: back)\n\
         F2   map or pane large, back    F5   the last request: play, pause\n\
         F3   choose the view            F7 F8   one hop back, forward\n\
         F4   what was done so far       F10  leave (or `quit` in the shell)\n\
         Shift-F2 or Ctrl-] f: always this pane large, and back.\n\
         \n\
         Without function keys: Ctrl-] and then 1, 2, 3 … 0, or Tab.\n\
         Everything else you type in the shell is the shell's, Ctrl-C too.\n\
         In vi, less or htop the F keys are the program's. Ctrl-] 6: next pane.\n\
         Elsewhere Ctrl-] and then an F key sends that key to the shell.\n\
         \n\
         in the shell\n\
         \x20 get pods     kubectl, with or without the word kubectl\n\
         \x20 what TERM    what a word means: what pod, what control plane\n\
         \x20 hint  check  next  back  goto STEP  solve  lesson     the lesson\n\
         \x20 why  trace  undo  redo  rewind  status  lang ko      the cluster\n\
         \x20 lab list  lab start ID  drill  progress              exercises\n\
         \x20 lesson leave  lab leave       back from a cluster of its own\n\
         \n\
         lesson   n next   b back   h hint   c check   a-d answer   o list\n\
         \x20        t type a command of the text   w explain a word of it\n\
         lab      h hint   c check   g grade   u give up   l leave   o list\n\
         map      Space play/pause   ← → one hop   ↑↓ another command or object\n\
         \x20        1-{} views   + - speed\n\
         \x20        its line: {} a command   {} a fault   {} a step is green\n\
         \x20        {} went away, and when\n\
         time     F4: ↑↓ a moment, then and now   d what differs   Enter rewind\n\
         scroll   wheel, or Shift-PgUp and Shift-PgDn   (on the map: one hop)\n\
         mouse    click chooses a pane; hold Shift to mark text\n\
         \n\
         below    1+2 nodes: control planes + workers\n\
         \x20        revision: the number of the last change of an object\n\
         \n\
         {} ready   {} starting   {} leaving   {} failed   {} waiting   {} leader\n\
         {} pod of the cluster itself   {} lease of the node: its kubelet lives\n\
         Times are measured ones; the lights run slower, 1/100 at first. Very\n\
         short and long hops have their own speed: the map's corner tells it.",
        "위: 강의와, 지금 클러스터를 그대로 보여 주는 그림입니다.\n\
         아래: 진짜 셸입니다. 여기에 kubectl 명령을 입력합니다.\n\
         화면이 110칸보다 좁으면 그림은 두 줄(개수, 문제나 소식)로 줄어듭니다.\n\
         그때 F2를 누르면 그림 전체가 보이고, 다시 누르면 돌아옵니다.\n\
         \n\
         F1   이 도움말                  F6   다음 창 (Shift-F6: 이전 창)\n\
         F2   그림이나 창을 크게, 뒤로   F5   마지막 요청 재생, 멈춤\n\
         F3   그림 고르기                F7 F8   한 단계 뒤로, 앞으로\n\
         F4   지금까지 한 일             F10  나가기 (셸에서는 `quit`)\n\
         Shift-F2 또는 Ctrl-] f: 언제나 이 창을 크게, 다시 작게.\n\
         \n\
         기능 키가 없으면 Ctrl-] 다음에 1, 2, 3 … 0 또는 Tab을 누릅니다.\n\
         그 밖에 셸에서 누르는 키는 Ctrl-C까지 모두 셸의 것입니다.\n\
         vi, less, htop 안에서는 F 키가 프로그램으로 갑니다. Ctrl-] 6은 다음 창.\n\
         그 밖에서는 Ctrl-] 다음에 F 키를 누르면 그 키가 셸로 갑니다.\n\
         \n\
         셸에서\n\
         \x20 get pods     kubectl 명령. kubectl이라는 말은 빼도 됩니다\n\
         \x20 what 용어    용어의 뜻: what 파드, what 컨트롤 플레인\n\
         \x20 hint  check  next  back  goto 단계  solve  lesson     강의\n\
         \x20 why  trace  undo  redo  rewind  status  lang en       클러스터\n\
         \x20 lab list  lab start ID  drill  progress               실습, 연습\n\
         \x20 lesson leave  lab leave       전용 클러스터에서 돌아가기\n\
         \n\
         강의     n 다음   b 이전   h 힌트   c 확인   a-d 답   o 목록\n\
         \x20        t 본문의 명령을 셸에 적기   w 본문의 용어 뜻 보기\n\
         실습     h 힌트   c 확인   g 채점   u 포기   l 끝내기   o 목록\n\
         그림     Space 재생/멈춤   ← → 한 단계   ↑↓ 다른 명령이나 오브젝트\n\
         \x20        1-{} 그림   + - 속도\n\
         \x20        재생 줄: {} 명령   {} 장애   {} 통과한 단계\n\
         \x20        {} 사라진 것과 그 시각\n\
         시간     F4: ↑↓ 시점의 그때와 지금   d 차이만   Enter rewind\n\
         스크롤   휠, 또는 Shift-PgUp과 Shift-PgDn   (그림에서는 한 단계)\n\
         마우스   클릭하면 창을 고르고, Shift를 누른 채 글자를 선택합니다\n\
         \n\
         맨 아래  노드 1+2개: 컨트롤 플레인 노드와 워커 노드의 수\n\
         \x20        리비전: 오브젝트를 마지막으로 바꾼 변경의 번호\n\
         \n\
         {} 준비됨   {} 시작 중   {} 나가는 중   {} 실패   {} 대기   {} 리더\n\
         {} 클러스터 자체의 파드   {} 노드의 리스(lease): kubelet이 살아 있음\n\
         시간은 모두 실제로 잰 값이고, 불빛만 느리게 움직입니다(처음에는 1/100).\n\
         아주 짧거나 긴 단계는 속도가 다르며, 그림 창 오른쪽 위에 표시됩니다.";
} }

#[cfg(test)]
mod tests {
    use super::super::text::cells;
    use super::*;
    use lang::Text;

    #[test]
    fn texts_fit_the_screen() {
        for word in Word::ALL {
            let (english, korean) = word.pair();
            if matches!(word, Word::Help) {
                assert_eq!(english.lines().count(), korean.lines().count());
                for line in english.lines().chain(korean.lines()) {
                    assert!(cells(line) <= 76, "{} cells: {line}", cells(line));
                }
            }
            if matches!(
                word,
                Word::Foot
                    | Word::FootStrip
                    | Word::FootMapWhole
                    | Word::FootProgram
                    | Word::FootLesson
                    | Word::FootLab
                    | Word::FootAnswer
                    | Word::FootListBack
                    | Word::FootList
                    | Word::FootMap
                    | Word::FootPrefix
            ) {
                assert!(cells(english) <= 79 && cells(korean) <= 79, "{word:?}");
                assert_eq!(english.contains("Esc"), korean.contains("Esc"), "{word:?}");
            }
        }
    }
}
