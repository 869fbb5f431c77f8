//! A real influxd 1.x beside the product.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::product::{Server, free_address};
use crate::tool;

/// Starts influxd with its files in `folder`.
pub(crate) fn influxd(folder: &Path) -> Server {
    let address = free_address();
    let folder_text = folder.display();
    let config = format!(
        "reporting-disabled = true\n\
         bind-address = \"{}\"\n\
         [meta]\n  dir = \"{folder_text}/meta\"\n\
         [data]\n  dir = \"{folder_text}/data\"\n  wal-dir = \"{folder_text}/wal\"\n\
         query-log-enabled = false\n\
         [monitor]\n  store-enabled = false\n\
         [http]\n  bind-address = \"{address}\"\n  log-enabled = false\n",
        free_address()
    );
    let file = folder.join("influxdb.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(tool("SILVERBACK_TEST_INFLUXD"));
    command
        .arg("run")
        .arg("-config")
        .arg(&file)
        .env("INFLUXDB_CONFIG_PATH", &file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Server::start(&mut command, address, "/ping")
}
