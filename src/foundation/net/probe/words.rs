//! What the trials of networks say, in English and Korean.

use lang::texts;

texts! {
    /// A text that a trial of networks shows (`ropewalk doctor`).
    pub enum Word {
    Networks: "networks", "네트워크";
    Bridge: "bridge", "브리지";
    VethAndNftables: "veth and nftables", "veth와 nftables";
    Veth: "veth", "veth";
    Nftables: "nftables", "nftables";
    Conntrack: "conntrack", "conntrack";
    Netem: "netem", "netem";
    CanBeMade: "can be made", "만들 수 있습니다";
    Services: "{} services", "서비스 {}개";
    Forgotten: "UDP flows can be forgotten", "UDP 흐름을 지울 수 있습니다";
    Delays: "delays", "지연을 만들 수 있습니다";
    NoCluster: "no cluster can run", "클러스터를 실행할 수 없습니다";
    NoServices: "services have no addresses", "서비스 주소가 동작하지 않습니다";
    StaleFlows: "UDP clients may stay with a pod that is gone", "UDP 클라이언트가 사라진 파드로 계속 보낼 수 있습니다";
    NoSlow: "`fault slow` does not work; everything else does", "`fault slow`가 동작하지 않습니다. 나머지는 모두 동작합니다";
    SeeMessage: "see the message", "메시지를 보세요";
    }
}
