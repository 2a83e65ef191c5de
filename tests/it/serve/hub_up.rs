//! Only the answers of a hub say whether it is up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use koschei::hub::interest::Interest;
use koschei::hub::poller::{Poller, Rhythm};
use koschei::hub::reader::Reader;
use koschei::hub::to_writer::{Reply, ToWriter};
use koschei::hub::turns::Observed;
use koschei::koji::HubClient;
use koschei::koji::client::HubSettings;
use koschei::model::TaskId;
use koschei::telemetry::Metrics;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::hub::{Hub, Settings};
use crate::live::PATIENCE;
use crate::serve::facts::primary;
use crate::serve::first::small;

const UP: &str = r#"koschei_hub_up{hub="primary"} 1"#;
const DOWN: &str = r#"koschei_hub_up{hub="primary"} 0"#;

async fn says(metrics: &Metrics, what: &str) {
    let says = async {
        while !metrics.render().contains(what) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, says).await.expect("the metric does not change");
}

/// One thread: a task that was woken runs before the yielding test continues.
#[tokio::test(flavor = "current_thread")]
async fn a_step_that_asked_nothing_says_nothing_of_the_hub() {
    koschei::koji::client::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    small(&hub);
    let of_hub = HubSettings { first_wait: Duration::from_millis(1), max_retries: 1, ..HubSettings::new(hub.url()) };
    let reader = Reader::new(HubClient::new(of_hub).unwrap());
    let (metrics, stop, bell) = (Metrics::new(), CancellationToken::new(), Arc::new(Notify::new()));
    let (writer, mut inputs) = ToWriter::channel();
    let (_hints, hinted) = mpsc::unbounded_channel();
    let (repos, _new_repos) = mpsc::unbounded_channel();
    let watched = Interest { told: true, build_tags: ["f99-build".into()].into(), ..Interest::default() };
    let watched = Interest { tags: watched.build_tags.clone(), ..watched };
    let (watching, watched) = watch::channel(watched);
    let poller = Poller {
        hub: primary(),
        reader,
        writer,
        hints: hinted,
        watch: watched,
        repos,
        stale: watch::channel(BTreeMap::new()).0,
        reconnected: Arc::clone(&bell),
        rhythm: Rhythm { poll: Duration::from_secs(3600), reconcile: Duration::from_secs(3600) },
        user: "koschei".to_owned(),
        log_id: "of this test".to_owned(),
        wants_load: false,
        metrics: metrics.clone(),
        stop: stop.clone(),
    };
    let writer = tokio::spawn(async move {
        while let Some((_, done)) = inputs.recv().await {
            done.send(Reply::Observed(Observed::default())).unwrap();
        }
    });
    let poller = tokio::spawn(poller.run());
    says(&metrics, UP).await;
    // This value is set without a call to the hub.
    metrics.hub_up("primary", false);
    let asked = hub.log().len();
    watching.send_modify(|w| w.tasks.clear());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.log().len(), asked, "a step that asks nothing is what this is about");
    assert!(metrics.render().contains(DOWN), "it did not answer");
    bell.notify_one();
    says(&metrics, UP).await;
    assert!(hub.log().len() > asked);
    // A hub that does not answer is not up.
    hub.stop();
    watching.send_modify(|w| w.tasks = [TaskId(1)].into());
    bell.notify_one();
    says(&metrics, DOWN).await;
    stop.cancel();
    poller.await.unwrap();
    writer.await.unwrap();
}
