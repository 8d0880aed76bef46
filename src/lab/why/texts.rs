//! The sentences of `why`.

use lang::texts;

texts! {
    /// Sentences; `{}` stands for what is filled in.
    pub enum Word {
        // -- objects
        NothingNamed: "An empty word names no object, nor does one with more than two slashes. Write `why pod/web`, `why web` or `why localhost:31234`; `why` alone is about your last command.", "빈 문자열이나 `/`가 세 개 이상 있는 문자열은 오브젝트의 이름이 아닙니다. `why pod/web`, `why web`, `why localhost:31234`처럼 쓰세요. `why`만 쓰면 마지막 명령을 설명합니다.";
        NoSuchKind: "There is no kind {}.", "{} 종류는 없습니다.";
        MeantKind: "The nearest kind is {}.", "가장 가까운 종류는 {}입니다.";
        WasDeleted: "{} was deleted by {} at {} (revision {}).", "{} 오브젝트를 {} 사용자가 {}에 삭제했습니다(리비전 {}).";
        NeverWas: "There is no {} \"{}\" in namespace {}, and as far as the records reach there never was.", "{} \"{}\" 오브젝트는 {} 네임스페이스에 없으며, 기록이 남아 있는 동안 있었던 적도 없습니다.";
        NeverWasInCluster: "There is no {} \"{}\", and as far as the records reach there never was.", "{} \"{}\" 오브젝트는 없으며, 기록이 남아 있는 동안 있었던 적도 없습니다.";
        NeverWasOf: "There is no object \"{}\" in namespace {}, and as far as the records reach there never was. Looked at were {}.", "\"{}\" 오브젝트는 {} 네임스페이스에 없으며, 기록이 남아 있는 동안 있었던 적도 없습니다. 찾아본 종류: {}";
        NotRead: "The {} could not be read, so nothing can be said about it: perhaps the API server does not answer.", "{} 목록을 읽을 수 없어서 알 수 있는 것이 없습니다. API 서버가 응답하지 않는 것일 수 있습니다.";
        OtherNamespace: "But there is a {} in the namespace {}.", "{} 오브젝트는 {} 네임스페이스에 있습니다.";
        NearNames: "Names close to it: {}.", "비슷한 이름: {}";
        NothingKnown: "Nothing is known against it: no Event warns of it.", "알려진 문제가 없습니다. 이 오브젝트에 대한 경고 이벤트도 없습니다.";
        Says: "It says: {}", "메시지: {}";
        Warned: "The last warning about it, {}: {}", "마지막 경고 {}: {}";
        Leaving: "It is being deleted and has {} seconds to end by itself.", "삭제 중이며, 스스로 끝낼 시간이 {}초 주어졌습니다.";
        Held: "It is being deleted, but these finalizers hold it until their owners are done: {}.", "삭제 중이지만 다음 파이널라이저가 모두 지워져야 없어집니다: {}";
        // -- pods
        NoNodeFits: "The scheduler found no node for it. What each node lacks:", "스케줄러가 알맞은 노드를 찾지 못했습니다. 노드마다 맞지 않은 이유:";
        BeingBound: "The scheduler has chosen {} and is about to bind it there.", "스케줄러가 {} 노드를 선택했고 곧 배정합니다.";
        WaitsForClaim: "The scheduler has chosen {} and binds it there once the claim {} has a volume.", "스케줄러가 {} 노드를 선택했습니다. {} 클레임이 볼륨에 바인딩되면 그 노드에 배정합니다.";
        NotYetScheduled: "The scheduler has not looked at it yet.", "스케줄러가 아직 이 파드를 확인하지 않았습니다.";
        TipResources: "Ask for less (resources.requests), or make room.", "요청(resources.requests)을 줄이거나 노드에 여유를 만드세요.";
        TipSelector: "Some nodes lack a label that its nodeSelector or affinity asks for.", "nodeSelector 또는 어피니티가 요구하는 레이블이 없는 노드가 있습니다.";
        TipTaint: "A tainted node takes only pods with a toleration.", "테인트가 있는 노드는 톨러레이션이 있는 파드만 받습니다.";
        OnSilentNode: "Its node {} is not Ready, so the pod's status may be out of date.", "이 파드가 있는 {} 노드가 Ready 상태가 아니라서 여기 보이는 파드 상태가 오래된 것일 수 있습니다.";
        NoSuchNode: "It is bound to the node {}, which does not exist, so no kubelet runs its containers.", "{} 노드에 배정되었지만 이 노드가 없어서 컨테이너를 실행할 kubelet이 없습니다.";
        LeavesMissingNode: "It is being deleted, but its node {} does not exist, so no kubelet can finish that. The pod garbage collector of the controller manager deletes the pod after the node has been missing for 40 seconds.", "삭제 중이지만 {} 노드가 없어서 삭제를 끝낼 kubelet이 없습니다. 노드가 40초 동안 없으면 컨트롤러 매니저의 파드 가비지 수집기가 이 파드를 삭제합니다.";
        LeavesSilentNode: "It is being deleted, but its node {} is not Ready, and only the kubelet there can end its containers.", "삭제 중이지만 {} 노드가 Ready 상태가 아닙니다. 컨테이너는 그 노드의 kubelet만 끝낼 수 있습니다.";
        NotStarted: "The kubelet of {} has not started all of its containers yet.", "{} 노드의 kubelet이 아직 컨테이너를 모두 시작하지 않았습니다.";
        Initializes: "Its init container {} runs. The next container starts when that one has ended with 0.", "{} 초기화 컨테이너가 실행 중입니다. 이 컨테이너가 0으로 끝나야 다음 컨테이너가 시작됩니다.";
        Gated: "The scheduler leaves it alone as long as it has scheduling gates: {}.", "스케줄링 게이트가 남아 있는 동안 스케줄러가 이 파드를 배정하지 않습니다: {}";
        OtherScheduler: "It waits for the scheduler {} (spec.schedulerName), which is not the cluster's own.", "클러스터의 기본 스케줄러가 아닌 {} 스케줄러를 기다립니다(spec.schedulerName).";
        NotReady: "It runs, but is not ready: {}.", "실행 중이지만 아직 준비되지 않았습니다: {}";
        GatesNotReady: "Its containers are ready, but conditions that its readinessGates name are not True: {}. A program outside of the pod has to set them.", "컨테이너는 준비되었지만 readinessGates에 적힌 컨디션이 True가 아닙니다: {}. 이 컨디션은 파드 밖의 프로그램이 설정해야 합니다.";
        RunsWell: "Nothing is wrong: it runs and is ready on {} with the address {}.", "문제가 없습니다. {} 노드에서 {} 주소로 실행 중이고 준비되었습니다.";
        Succeeded: "Nothing is wrong: its containers have done their work and ended with 0.", "문제가 없습니다. 컨테이너가 일을 마치고 0으로 끝났습니다.";
        Failed: "It has failed and is not started again. {} {}", "실패했고 다시 시작되지 않습니다. {} {}";
        NoImage: "The image {} cannot be pulled for the container {}.", "{} 이미지를 가져올 수 없습니다(컨테이너 {}).";
        CrashLoop: "The container {} keeps ending (restarts: {}), last exit code {}. The kubelet waits longer before each new start.", "{} 컨테이너가 계속 종료됩니다. 재시작 {}번, 마지막 종료 코드 {}. kubelet은 다시 시작할 때마다 더 오래 기다립니다.";
        CannotStart: "The container {} cannot be started, {}: {}", "{} 컨테이너를 시작할 수 없습니다. {}: {}";
        Exited: "The container {} ended with exit code {}.", "{} 컨테이너가 종료 코드 {}번으로 끝났습니다.";
        WasRestarted: "The container {} was restarted (times: {}); it had ended with exit code {}.", "{} 컨테이너가 {}번 재시작되었습니다. 그전 종료 코드는 {}입니다.";
        Waits: "The container {} waits, {}: {}", "{} 컨테이너가 기다리는 중입니다. {}: {}";
        OomKilled: "It took more memory than its limit allows, and the kernel killed it.", "한도보다 많은 메모리를 써서 커널이 강제로 종료했습니다.";
        EndedByKubelet: "The kubelet ended it: {}.", "kubelet이 종료했습니다: {}";
        ExitedWell: "0 means that it ended by itself, as if its work were done; a server should not end.", "0은 할 일을 마치고 스스로 끝났다는 뜻입니다. 서버라면 끝나면 안 됩니다.";
        NotExecutable: "126: the command is there but cannot be executed.", "126: 명령이 있지만 실행할 수 없습니다.";
        NoSuchCommand: "127: there is no such command in the image.", "127: 이미지에 그런 명령이 없습니다.";
        Killed: "137: it was killed with SIGKILL, after its grace period or from outside.", "137: 유예 시간이 지났거나 밖에서 SIGKILL로 강제 종료되었습니다.";
        Asked: "143: it ended on SIGTERM, as it was asked to.", "143: SIGTERM을 받고 끝났습니다.";
        // -- those who keep pods
        ScaledToZero: "It wants 0 pods, so there are none.", "의도한 파드 수가 0이므로 파드가 없습니다.";
        PodsLeft: "It wants 0 pods. Pods that are still there: {}.", "의도한 파드 수가 0입니다. 아직 남아 있는 파드: {}개";
        AllReady: "Nothing is wrong: ready pods: {} of {}.", "문제가 없습니다. 준비된 파드: {}/{}";
        SomeNotReady: "Ready pods: {} of {}.", "준비된 파드: {}/{}";
        ForExample: "One that is not ready is {}:", "준비되지 않은 파드 {}:";
        PodsMissing: "Only {} of {} pods exist.", "있는 파드: {}/{}";
        NoNodeForIt: "It wants 0 pods: no node fits its nodeSelector, its affinity and its tolerations.", "의도한 파드 수가 0입니다. nodeSelector, 어피니티, 톨러레이션에 맞는 노드가 없습니다.";
        Unfinished: "Its rollout is not complete. Pods of the newest template: {} of {}; older pods that are left: {}.", "롤아웃이 끝나지 않았습니다. 최신 템플릿으로 만든 파드: {}/{}, 남아 있는 이전 파드: {}개";
        Stuck: "Its rollout does not get on: {}", "롤아웃이 진행되지 않습니다: {}";
        CannotMake: "Its pods cannot be made or deleted: {}", "파드를 만들거나 삭제할 수 없습니다: {}";
        Paused: "The rollout is paused (spec.paused): its new template makes no pods until it is resumed.", "롤아웃이 일시 중지되어(spec.paused) 다시 시작할 때까지 새 템플릿으로 파드를 만들지 않습니다.";
        NotSeen: "Its controller has not seen its newest version yet.", "컨트롤러가 최신 버전을 아직 확인하지 않았습니다.";
        InOrder: "A StatefulSet starts its pods one after the other: the next one waits until {} is ready.", "스테이트풀셋은 파드를 하나씩 차례로 시작합니다. {} 파드가 준비될 때까지 다음 파드는 기다립니다.";
        JobDone: "Nothing is wrong: the Job is complete. Pods that succeeded: {}.", "문제가 없습니다. 잡이 완료되었습니다. 성공한 파드: {}개";
        JobSucceeds: "Nothing is wrong: the Job has succeeded, and the pods that still run for it are being ended. Pods that succeeded: {}.", "문제가 없습니다. 잡이 성공했고, 아직 실행 중인 파드를 종료하고 있습니다. 성공한 파드: {}개";
        JobFailed: "The Job has failed and makes no more pods, {}: {}", "잡이 실패했고 파드를 더 만들지 않습니다. {}: {}";
        Suspended: "The Job is suspended (spec.suspend), so it has no pods.", "잡이 일시 중지되어(spec.suspend) 파드가 없습니다.";
        NoParallelism: "Its parallelism is 0 (spec.parallelism), so it makes no pods until that number is raised.", "동시에 실행할 파드 수가 0이므로(spec.parallelism) 이 값을 올릴 때까지 파드를 만들지 않습니다.";
        JobRetries: "Pods that failed so far: {}; the Job gives up after {} retries (backoffLimit).", "지금까지 실패한 파드: {}개. 재시도 {}번을 넘으면 잡이 실패합니다(backoffLimit).";
        JobWithoutPods: "The Job has no pod that runs. Pods that succeeded: {} of {}.", "잡에 실행 중인 파드가 없습니다. 성공한 파드: {}/{}";
        JobRuns: "Pods that run for it: {}. Pods that succeeded: {} of {}.", "실행 중인 파드: {}개. 성공한 파드: {}/{}";
        CronSuspended: "The CronJob is suspended (spec.suspend), so it makes no Jobs.", "크론잡이 일시 중지되어(spec.suspend) 잡을 만들지 않습니다.";
        CronNever: "Its schedule is {}; it has made no Job yet.", "스케줄은 {}이고, 아직 만든 잡이 없습니다.";
        CronLast: "Its schedule is {}; it made its last Job at {}.", "스케줄은 {}이고, 마지막 잡을 만든 시각은 {}입니다.";
        Silent: "Nobody does the work of {}: its Lease was last renewed {} seconds ago.", "{} 역할을 하는 컴포넌트가 없습니다. 리스가 마지막으로 갱신된 지 {}초가 지났습니다.";
        // -- nodes and claims
        NodeReady: "Nothing is wrong: it is Ready.", "문제가 없습니다. Ready 상태입니다.";
        NodeNotReady: "It is not Ready, {}: {}", "Ready 상태가 아닙니다. {}: {}";
        NodeNeverReported: "Its kubelet has never reported.", "이 노드의 kubelet이 한 번도 보고하지 않았습니다.";
        Pressure: "Its kubelet says {}: {}", "kubelet이 {} 상태를 알렸습니다: {}";
        Cordoned: "It is cordoned: no new pods are put on it.", "스케줄링에서 제외되어(cordon) 새 파드가 배정되지 않습니다.";
        Tainted: "It has the taint {}: only pods that tolerate it come here.", "{} 테인트가 있어, 이에 맞는 톨러레이션이 있는 파드만 배정될 수 있습니다.";
        TaintedSoftly: "It has the taint {}: the scheduler puts pods that do not tolerate it on other nodes if it can.", "{} 테인트가 있어, 스케줄러가 이에 맞는 톨러레이션이 없는 파드를 되도록 다른 노드에 배정합니다.";
        Emptied: "It is being deleted: everything in it has to be deleted first.", "삭제 중입니다. 안에 있는 것이 모두 먼저 삭제되어야 합니다.";
        ClaimBound: "Nothing is wrong: it is bound to the volume {}.", "문제가 없습니다. {} 볼륨에 바인딩되었습니다.";
        ClaimPending: "It has no volume yet (Pending).", "아직 볼륨이 없습니다(Pending).";
        ClaimLost: "The volume {} that it was bound to is gone (Lost).", "바인딩되어 있던 {} 볼륨이 없어졌습니다(Lost).";
        NoProvisioning: "Its storageClassName is empty, so no volume is made for it: it waits for a PersistentVolume that fits and names no class either.", "storageClassName이 비어 있어 볼륨이 만들어지지 않습니다. 클래스가 없고 조건이 맞는 퍼시스턴트볼륨을 기다립니다.";
        ClaimProvisioned: "A volume is to be made by the provisioner {}.", "{} 프로비저너가 볼륨을 만들어야 합니다.";
        ClaimNames: "It asks for the volume {} (spec.volumeName) and waits until that one is bound to it.", "{} 볼륨을 지정했고(spec.volumeName), 그 볼륨과 바인딩되기를 기다립니다.";
        VolumesByHand: "The StorageClass {} makes no volumes: the claim waits for a PersistentVolume that fits.", "스토리지클래스 {}에 볼륨을 만드는 프로그램이 없습니다. 조건이 맞는 퍼시스턴트볼륨을 기다립니다.";
        ClassToCome: "It names no StorageClass. The controller manager is to give it the default one, {}.", "스토리지클래스가 지정되지 않았습니다. 컨트롤러 매니저가 기본 스토리지클래스({})를 지정합니다.";
        NoClass: "It names no StorageClass, and none is the default.", "스토리지클래스가 지정되지 않았고 기본 스토리지클래스도 없습니다.";
        UnknownClass: "There is no StorageClass {}; there is: {}.", "그런 스토리지클래스가 없습니다: {}. 있는 것: {}";
        WaitsForPod: "It waits for the first pod that uses it (WaitForFirstConsumer): only then is its node known.", "이 클레임을 쓰는 첫 파드를 기다립니다(WaitForFirstConsumer). 그때 노드가 정해집니다.";
        // -- services
        PortOf: "Port {} belongs to the Service {}.", "{} 포트는 {} 서비스의 것입니다.";
        NoPort: "{} is not a port: ports are numbers from 1 to 65535.", "{} 값은 포트가 아닙니다. 포트는 1부터 65535까지의 수입니다.";
        PortOfNobody: "No Service has the NodePort {}, so no pod is reached by it. What answers there is another program, such as the API server or `kubectl port-forward`.", "NodePort {}번을 쓰는 서비스가 없어 이 포트로는 파드에 연결되지 않습니다. 응답이 있다면 API 서버나 `kubectl port-forward` 같은 다른 프로그램이 보낸 것입니다.";
        PortWasOf: "It belonged to the Service {}, which {} deleted at {}.", "{} 서비스의 포트였으나 {} 사용자가 {}에 삭제했습니다.";
        External: "It is only a name for {}.", "{} 주소를 가리키는 이름일 뿐입니다.";
        NoSelector: "It has no selector, so nobody fills its list of endpoints.", "셀렉터가 없어서 엔드포인트 목록을 채우는 컨트롤러가 없습니다.";
        Selects: "It looks for pods with {}.", "{} 레이블을 가진 파드를 찾습니다.";
        LabAsks: "The open lab asks for the cause, so `why` does not compare the Service with its pods. `lab hint` says where to look.", "열려 있는 실습에서 원인을 묻고 있으므로 `why`가 서비스를 파드와 비교해 주지 않습니다. 무엇을 살펴볼지는 `lab hint`로 볼 수 있습니다.";
        NobodySelected: "It looks for pods with {}, and no pod has these labels, so it has no endpoints.", "{} 레이블을 가진 파드를 찾지만 그런 파드가 없어 엔드포인트가 없습니다.";
        Headless: "It is headless (clusterIP: None): its name leads to the addresses of the pods, and clients use the ports of the pods.", "헤드리스 서비스입니다(clusterIP: None). 이름을 조회하면 파드 주소가 나오고, 클라이언트는 파드의 포트로 직접 연결합니다.";
        OtherValue: "There are pods with {}={}, but it asks for {}.", "{}={} 레이블의 파드는 있지만 셀렉터가 찾는 값은 {}입니다.";
        OtherKey: "There are pods with {}={}, but it asks for the key {}.", "{}={} 레이블의 파드는 있지만 셀렉터가 찾는 키는 {}입니다.";
        NobodyReady: "Of the pods that it selects ({}, with {}) none is ready, so no endpoint is used.", "선택된 파드는 {}개({})이지만 준비된 파드가 없어 쓰이는 엔드포인트가 없습니다.";
        AllEnding: "Of the pods that it selects ({}, with {}) none is ready. Until one is, requests go to those that are being deleted and still answer: {}.", "선택된 파드는 {}개({})이지만 준비된 파드가 없습니다. 준비된 파드가 생길 때까지 삭제 중이지만 아직 응답하는 파드로 요청을 보냅니다: {}개";
        NotListed: "Pods that it selects are ready, and no EndpointSlice lists one: its endpoints are not kept up to date.", "준비된 파드가 있지만 엔드포인트슬라이스에 없습니다. 엔드포인트가 갱신되지 않고 있습니다.";
        Listed: "Ready endpoints listed: {}.", "준비된 엔드포인트: {}개";
        NoNamedPort: "Its targetPort is called {}, and no container has a port of that name and protocol.", "targetPort 이름이 {}인데 이름과 프로토콜이 같은 포트를 가진 컨테이너가 없습니다.";
        OtherPort: "It sends to port {} of the pods, but their containers name {}.", "파드의 {} 포트로 보내지만 컨테이너에 적힌 포트는 {}입니다.";
        SendsTo: "Port {} goes to port {} of the pods; if it is refused, nothing listens there inside the pod.", "{} 포트는 파드의 {} 포트로 갑니다. 연결이 거부된다면 파드 안에 그 포트에서 연결을 기다리는 프로그램이 없는 것입니다.";
        NoBalancer: "Its EXTERNAL-IP is <pending>: a cloud's controller gives a Service of the type LoadBalancer its address, and no controller here has given it one.", "EXTERNAL-IP가 <pending> 상태입니다. LoadBalancer 타입의 서비스에는 클라우드의 컨트롤러가 주소를 주는데, 여기에는 주소를 준 컨트롤러가 없습니다.";
        NodePorts: "From outside it is reached by a node's address and its NodePort: {}.", "밖에서는 노드 주소와 노드포트로 연결할 수 있습니다: {}";
        // -- the last command
        NoSuchVerb: "kubectl has no command {}.", "kubectl에는 {} 명령이 없습니다.";
        MeantVerb: "Its word for that is {}.", "kubectl에서는 {} 명령을 씁니다.";
        EndedItself: "It ended with exit code {}, and the API server refused nothing: the reason stands in the command's own output.", "종료 코드 {}번으로 끝났습니다. API 서버가 거부한 요청은 없으므로, 이유는 명령이 출력한 메시지에 있습니다.";
        Interrupted: "It was interrupted (Ctrl-C, exit code 130) before it came to its end; the API server refused nothing.", "명령이 끝나기 전에 중단되었습니다(Ctrl-C, 종료 코드 130). API 서버가 거부한 요청은 없습니다.";
        NamesNoObject: "No request of this command was about an object. If the command failed, the reason stands in its own output.", "이 명령이 보낸 요청 중에는 오브젝트에 관한 것이 없습니다. 실패했다면 이유는 명령이 출력한 메시지에 있습니다.";
        NotKubectl: "`why` explains kubectl commands, objects and ports of localhost. This command ended with exit code {}.", "`why`는 kubectl 명령, 오브젝트, localhost의 포트를 설명합니다. 이 명령은 종료 코드 {}번으로 끝났습니다.";
        LookedWell: "The API server answered: {}.", "API 서버의 응답 코드: {}.";
        NoCommand: "No kubectl command has reached the cluster yet.", "아직 클러스터에 도착한 kubectl 명령이 없습니다.";
        NotKnown: "401: the server does not know who you are; look at the kubeconfig.", "401: 서버가 누구인지 알지 못합니다. kubeconfig를 확인하세요.";
        MayNot: "403: the server knows {}, but no role allows this user to {}.", "403: {} 사용자인 것은 알지만 다음 권한을 주는 롤이 없습니다: {}";
        Forbidden: "403: {}", "403: {}";
        NotFound: "404: there is no {} called {}.", "404: 이름이 맞는 {} 오브젝트가 없습니다: {}";
        NoNamespace: "404: there is no namespace {}, so nothing can be made or found in it.", "404: {} 네임스페이스가 없어서 그 안에 만들거나 찾을 수 없습니다.";
        Managed: "409: another manager owns fields that you want to set. `--force-conflicts` takes them over; without it, leave these fields out:", "409: 설정하려는 필드를 다른 필드 매니저가 관리합니다. `--force-conflicts`를 쓰면 가져올 수 있고, 아니면 다음 필드를 빼세요:";
        Exists: "409: a {} called {} exists already; a name is unique within its kind and namespace. Nothing was changed.", "409: 같은 이름의 {} 오브젝트가 이미 있습니다: {}. 한 네임스페이스 안에서 같은 종류의 오브젝트는 이름이 같을 수 없습니다. 바뀐 것은 없습니다.";
        Leaves: "409: the {} called {} is being deleted; its name is free again when it is gone. Nothing was changed.", "409: 같은 이름의 {} 오브젝트를 삭제하는 중입니다: {}. 삭제가 끝나면 이 이름을 다시 쓸 수 있습니다. 바뀐 것은 없습니다.";
        Conflict: "409: somebody changed the object after you had read it. Read it again and repeat.", "409: 읽은 뒤에 다른 클라이언트가 오브젝트를 바꾸었습니다. 다시 읽고 시도하세요.";
        Invalid: "422: the server understood the object, but a field breaks a rule:", "422: 오브젝트는 읽었지만 규칙에 맞지 않는 필드가 있습니다:";
        Budget: "429: {}", "429: {}";
        Answered: "The server answered {}: {}", "서버의 응답 {}: {}";
    }
}
