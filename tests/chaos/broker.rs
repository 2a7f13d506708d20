//! A broker in a process of its own: this program again, hosting librdkafka's mock cluster. It keeps groups, offsets
//! and their metadata, and lives through whatever happens to squall.

use crate::setup::PARTITIONS;
use rdkafka::ClientConfig;
use rdkafka::bindings::{
    rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms,
};
use rdkafka::producer::{BaseProducer, Producer as _};
use squall::broker::topics;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

/// The argument under which this program is a broker.
pub const HOST: &str = "--host-broker";
/// Topics that posts come from.
pub const SOURCES: [&str; 2] = ["news", "social"];

/// How long the first member of a group waits for others. The mock's own 3 s are longer than the members' session, which
/// it takes for ended meanwhile: a group that was empty would never form again.
const FIRST_MEMBER_WAITS_MS: i32 = 300;

/// Hosts a broker until its input ends; the address is the first line of its output.
pub fn host() -> Result<(), Box<dyn std::error::Error>> {
    let client: BaseProducer = ClientConfig::new()
        .set("test.mock.num.brokers", "1")
        .set("bootstrap.servers", "mock")
        .create()?;
    let cluster = client
        .client()
        .mock_cluster()
        .ok_or("the client has no mock cluster")?;
    // SAFETY: both take a live client, and the cluster of one lives as long as it.
    unsafe {
        let cluster = rd_kafka_handle_mock_cluster(client.client().native_ptr());
        rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, FIRST_MEMBER_WAITS_MS);
    }
    let sources = SOURCES.map(|topic| (topic, PARTITIONS));
    for (topic, partitions) in topics::own(PARTITIONS).into_iter().chain(sources) {
        cluster.create_topic(topic, partitions, 1)?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", cluster.bootstrap_servers())?;
    output.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A broker that lives as long as this value.
pub struct Broker {
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl Broker {
    /// Starts one.
    pub fn start() -> std::io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(HOST)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut address)?;
        }
        let address = address.trim().to_owned();
        if address.is_empty() {
            return Err(std::io::Error::other("the broker does not start"));
        }
        Ok(Self { child, address })
    }

    /// Whether it still lives.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
