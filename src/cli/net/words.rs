//! The texts of `net show`.

use lang::texts;

texts! {
    /// What `net show` prints: a sentence for each kind of rule, headings and errors.
    pub(super) enum Word {
    OnNodes: "on {}", "{}에서";
    Alike: "alike on {} nodes: {}", "노드 {}개에서 같음: {}";
    ForAll: "for all Services", "모든 서비스 공통";
    EntersFromPods:
        "The first packet of each connection that comes from a pod, or from outside the node, is looked up.",
        "파드에서 오거나 노드 밖에서 오는 연결의 첫 패킷은 모두 이 규칙을 거칩니다.";
    EntersFromNode:
        "The same for connections that the node itself makes.",
        "노드 자신이 만드는 연결도 마찬가지입니다.";
    FindsAddress:
        "Is the destination the address and port of a Service? Then the packet goes on in that Service's chain.",
        "목적지가 어떤 서비스의 주소와 포트이면 그 서비스의 체인으로 넘어갑니다.";
    FindsNodePort:
        "Is it a node port at this node's own address? Then the packet goes on in the chain of that Service.",
        "목적지가 이 노드 주소의 노드 포트이면 그 서비스의 체인으로 넘어갑니다.";
    LeadsAddress:
        "Connections to {}, port {}, go on in chain {}.",
        "{}의 {}번 포트로 가는 연결은 {} 체인으로 넘어갑니다.";
    LeadsNodePort:
        "Connections to port {} of this node go on in chain {}.",
        "이 노드의 {}번 포트로 오는 연결은 {} 체인으로 넘어갑니다.";
    Marks:
        "The connection is marked: it gets the node's address as its source, so that the answer comes back through this node. It goes on in chain {}.",
        "연결에 표시를 남깁니다. 출발지 주소가 노드의 주소로 바뀌어 응답이 이 노드를 거쳐 돌아옵니다. 이어서 {} 체인으로 넘어갑니다.";
    LeadsInside:
        "A client inside the cluster: the policy Local is not meant for it, and it goes on in chain {}.",
        "클러스터 안의 클라이언트에는 Local 정책이 적용되지 않으므로 {} 체인으로 넘어갑니다.";
    Drops:
        "The policy is Local, and this node has no endpoint: the packet is dropped without an answer.",
        "정책이 Local인데 이 노드에 엔드포인트가 없으므로 응답 없이 버립니다.";
    Chooses:
        "Draws a number by lot, and puts the address of that endpoint in {} in place of the Service's.",
        "번호를 무작위로 뽑아, {}에서 그 번호의 엔드포인트 주소로 서비스 주소를 바꿉니다.";
    Endpoint: "Number {} is {}, port {}.", "{}번은 {}의 {}번 포트입니다.";
    LeadsToSticky:
        "Number {} is {}, port {}; its chain remembers the client.",
        "{}번은 {}의 {}번 포트입니다. 그 체인이 클라이언트를 기억합니다.";
    KnowsClients:
        "A client that has been at {}, port {}, goes there again (sessionAffinity: ClientIP).",
        "{}의 {}번 포트에 접속한 적이 있는 클라이언트는 다시 그 파드로 갑니다(sessionAffinity: ClientIP).";
    Remembers: "Remembers the client of {}, port {}.", "{}의 {}번 포트에 접속한 클라이언트를 기억합니다.";
    Translates:
        "Puts {}, port {}, in place of the Service's address.",
        "서비스의 주소를 {}의 {}번 포트로 바꿉니다.";
    Client: "The client {} stays with {}, port {}.", "{} 클라이언트는 {}의 {}번 포트로 계속 갑니다.";
    Refused:
        "{}, port {}: the Service has no endpoint, so connections are refused.",
        "{}의 {}번 포트: 서비스에 엔드포인트가 없어 연결이 거부됩니다.";
    RefusedNodePort:
        "Port {} of this node: the Service has no endpoint, so connections are refused.",
        "이 노드의 {}번 포트: 서비스에 엔드포인트가 없어 연결이 거부됩니다.";
    RefusesListed:
        "Refuses new connections to addresses of Services without endpoints.",
        "엔드포인트가 없는 서비스의 주소로 가는 새 연결을 거부합니다.";
    RefusesListedPorts:
        "Refuses new connections to node ports of Services without endpoints, also where a program of the node listens.",
        "엔드포인트가 없는 서비스의 노드 포트로 오는 새 연결을 거부합니다. 노드의 프로그램이 그 포트에서 기다리고 있어도 마찬가지입니다.";
    RefusesUnknown:
        "Refuses new connections to addresses of the service range that no Service has.",
        "서비스 주소 범위에 있지만 어떤 서비스의 것도 아닌 주소로 가는 새 연결을 거부합니다.";
    Masquerades:
        "Gives connections that are marked the node's address as their source.",
        "표시된 연결의 출발지 주소를 노드의 주소로 바꿉니다.";
    Hairpin:
        "A pod that reaches itself through a Service gets another source address: it would not answer itself.",
        "파드가 서비스를 거쳐 자기 자신에게 접속하면 출발지 주소를 바꿉니다. 그대로 두면 자기 자신에게는 응답하지 못합니다.";
    Other: "Not a rule of this program.", "이 프로그램이 만든 규칙이 아닙니다.";
    NoRules:
        "there are no rules: kube-proxy has written none on the nodes that answered",
        "규칙이 없습니다. 응답한 노드 중에 kube-proxy가 규칙을 쓴 노드가 없습니다";
    NoService:
        "no node has a rule for the Service {}. It does not exist, has no cluster IP, or kube-proxy has not written its rules",
        "{} 서비스의 규칙이 어느 노드에도 없습니다. 서비스가 없거나, 클러스터 IP가 없거나, kube-proxy가 아직 규칙을 쓰지 않았습니다";
    NoServiceTry:
        "`kubectl get service {} -n {}`, and `kubectl get pods -n kube-system -l k8s-app=kube-proxy`",
        "`kubectl get service {} -n {}`, 그리고 `kubectl get pods -n kube-system -l k8s-app=kube-proxy`";
    NoPod: "no node runs a pod {} with an address of its own", "자기 주소를 가진 {} 파드가 어느 노드에도 없습니다";
    NoneToPod:
        "no Service leads to the pod {} ({}). A Service leads to pods that its selector names and that are ready",
        "{} 파드({})로 이어지는 서비스가 없습니다. 서비스는 셀렉터에 맞고 준비된 파드로만 이어집니다";
    Unknown:
        "node {} could not be asked: {}. Its rules or its pods are not shown",
        "{} 노드의 정보를 읽을 수 없습니다: {}. 이 노드의 규칙이나 파드는 표시되지 않습니다";
    Unclear:
        "{} names no Service and no pod; write NAME, svc/NAME or pod/NAME",
        "{} 값은 서비스도 파드도 아닙니다. 이름, svc/이름, pod/이름 중 하나를 적으세요";
    Without:
        "`ropewalk net show` without a name shows also the rules that are there for all Services.",
        "이름 없이 `ropewalk net show`를 실행하면 모든 서비스에 공통인 규칙도 볼 수 있습니다.";
    }
}
