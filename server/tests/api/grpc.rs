//! gRPC: writes that are acknowledged one by one, and queries in columns.

use silverback_protos::v1::query_response::Piece;
use silverback_protos::v1::result_column::Values;
use silverback_protos::v1::silverback_client::SilverbackClient;
use silverback_protos::v1::write_request::Batch;
use silverback_protos::v1::write_stream_response::Outcome;
use silverback_protos::v1::{
    Durability, FieldColumn, Integers, LineProtocol, MeasurementColumns, QueryRequest,
    QueryResponse, TagColumn, TypedColumns, WriteRequest, WriteStreamRequest, field_column,
};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::harness::{Request, Server};

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

async fn connect(server: &Server) -> Channel {
    let url = format!("http://{}", server.address);
    Channel::from_shared(url).unwrap().connect().await.unwrap()
}

fn server() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Server::at(dir.path(), &["--auto-create", "always"]), dir)
}

fn lines(body: &str) -> WriteRequest {
    WriteRequest {
        database: "g".to_owned(),
        policy: String::new(),
        batch: Some(Batch::LineProtocol(LineProtocol {
            body: body.as_bytes().to_vec().into(),
            precision: 0,
        })),
        durability: 0,
    }
}

fn typed() -> WriteRequest {
    let field = FieldColumn {
        name: "f".to_owned(),
        presence: vec![],
        values: Some(field_column::Values::Integers(Integers {
            values: vec![10, 20],
        })),
    };
    let tag = TagColumn {
        key: "host".to_owned(),
        dictionary: vec!["a".to_owned()],
        indexes: vec![1, 0],
    };
    let rows = MeasurementColumns {
        measurement: "m".to_owned(),
        timestamps: vec![1, 2],
        tags: vec![tag],
        fields: vec![field],
    };
    WriteRequest {
        batch: Some(Batch::Columns(TypedColumns {
            measurements: vec![rows],
        })),
        ..lines("")
    }
}

#[test]
fn lines_and_typed_columns_come_back_as_columns() {
    let (server, _dir) = server();
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        let stored = client
            .write(lines("m,host=a f=1i 3"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((stored.stored_rows, stored.rejected_rows), (1, 0));
        let stored = client.write(typed()).await.unwrap().into_inner();
        assert_eq!((stored.stored_rows, stored.rejected_rows), (2, 0));

        let request = QueryRequest {
            query: "SELECT f FROM m WHERE host = 'a'; SELECT f FROM nope.m".to_owned(),
            database: "g".to_owned(),
            ..QueryRequest::default()
        };
        let mut answer = client.query(request).await.unwrap().into_inner();
        let mut pieces = Vec::new();
        while let Some(response) = answer.message().await.unwrap() {
            pieces.push((response.statement_id, response.piece.unwrap()));
        }
        let [
            (0, Piece::Header(header)),
            (0, Piece::Rows(rows)),
            (0, Piece::End(_)),
            (1, Piece::End(end)),
        ] = pieces.as_slice()
        else {
            panic!("{pieces:?}");
        };
        assert_eq!(
            (header.name.as_str(), header.columns.as_slice()),
            ("m", ["time", "f"].map(String::from).as_slice())
        );
        assert_eq!(rows.row_count, 2);
        let Some(Values::Times(times)) = &rows.columns[0].values else {
            panic!("{rows:?}")
        };
        assert_eq!(times.values, [1, 3]);
        let Some(Values::Integers(values)) = &rows.columns[1].values else {
            panic!("{rows:?}")
        };
        assert_eq!(values.values, [10, 1]);
        assert_eq!(end.error, "retention policy not found: nope");
    });
}

#[test]
fn a_batch_is_as_durable_as_it_asks_and_the_answer_says_so() {
    let (server, _dir) = server();
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        for asked in [Durability::Disk, Durability::Buffered, Durability::Memory] {
            let request = WriteRequest {
                durability: asked.into(),
                ..lines("m f=1 1")
            };
            let answer = client.write(request).await.unwrap().into_inner();
            assert_eq!(answer.durability(), asked);
        }
        let unknown = WriteRequest {
            durability: 9,
            ..lines("m f=1 1")
        };
        let refused = client.write(unknown).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    });
}

#[test]
fn errors_have_the_code_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &[]);
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        let unknown = client.write(lines("m f=1 1")).await.unwrap_err();
        assert_eq!(
            (unknown.code(), unknown.message()),
            (Code::NotFound, "database not found: \"g\"")
        );
        let nothing = WriteRequest {
            batch: None,
            ..lines("")
        };
        assert_eq!(
            client.write(nothing).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        let request = QueryRequest {
            query: "SELEC".to_owned(),
            ..QueryRequest::default()
        };
        let mut answer = client.query(request).await.unwrap().into_inner();
        let status = answer.message().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status
                .message()
                .starts_with("error parsing query: found SELEC"),
            "{status}"
        );
    });
}

#[test]
fn every_batch_of_a_stream_is_answered_by_its_number() {
    let (server, _dir) = server();
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        let batch = |number: u64, body: &str| WriteStreamRequest {
            stream_id: "s".to_owned(),
            number,
            write: Some(lines(body)),
        };
        let mut batches = vec![
            batch(7, "m f=1 1\nm f=2 2"),
            batch(8, "bad"),
            batch(9, "m f=3 3\nbad"),
        ];
        batches.extend((100..400).map(|number| batch(number, &format!("n f={number} {number}"))));
        let expected: Vec<u64> = batches.iter().map(|batch| batch.number).collect();
        let answers = client
            .write_stream(futures_util::stream::iter(batches))
            .await
            .unwrap();
        let mut answers = answers.into_inner();
        let mut numbers = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            numbers.push(answer.number);
            match (answer.number, answer.outcome.unwrap()) {
                (8, Outcome::Refused(refusal)) => {
                    assert_eq!(refusal.code, 3);
                    assert!(
                        refusal.message.starts_with("unable to parse 'bad'"),
                        "{refusal:?}"
                    );
                }
                (7, Outcome::Stored(stored)) => assert_eq!(stored.stored_rows, 2),
                (9, Outcome::Stored(stored)) => {
                    assert_eq!((stored.stored_rows, stored.rejected_rows), (1, 1));
                    assert_eq!(stored.errors[0].line, 2);
                }
                (_, Outcome::Stored(stored)) => assert_eq!(stored.stored_rows, 1),
                (number, outcome) => panic!("{number}: {outcome:?}"),
            }
        }
        assert_eq!(numbers, expected);
    });
}

#[test]
fn health_and_reflection_answer_on_both_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::at(dir.path(), &["--grpc-bind", "127.0.0.1:0"]);
    let line = server.next_log_line();
    let url = line
        .split("url=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .trim()
        .to_owned();
    block_on(async {
        for url in [format!("http://{}", server.address), url] {
            let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
            let mut health = HealthClient::new(channel.clone());
            let request = HealthCheckRequest {
                service: "silverback.v1.Silverback".to_owned(),
            };
            let status = health.check(request).await.unwrap().into_inner().status;
            assert_eq!(status, 1);
            let mut reflection = ServerReflectionClient::new(channel);
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let answers = reflection
                .server_reflection_info(futures_util::stream::iter([request]))
                .await
                .unwrap();
            let answer = answers.into_inner().message().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("{answer:?}");
            };
            assert!(
                list.service
                    .iter()
                    .any(|service| service.name == "silverback.v1.Silverback")
            );
        }
    });
}

/// A server with rows for an answer that no buffer between it and its reader holds.
async fn filled(client: &mut SilverbackClient<Channel>) {
    for first in (0..1_000_000).step_by(50_000) {
        let line = |row: i32| format!("m f={row},s=\"a string that takes some room\" {row}\n");
        let body: String = (first..first + 50_000).map(line).collect();
        client.write(lines(&body)).await.unwrap();
    }
}

fn select(query: &str) -> QueryRequest {
    QueryRequest {
        query: query.to_owned(),
        database: "g".to_owned(),
        ..QueryRequest::default()
    }
}

/// How an answer ends: by a status, or by what its last piece says of its statement.
async fn end(mut answer: tonic::Streaming<QueryResponse>) -> (Code, String) {
    let mut said = String::new();
    loop {
        match answer.message().await {
            Ok(Some(response)) => {
                if let Some(Piece::End(end)) = response.piece {
                    said = end.error;
                }
            }
            Ok(None) => return (Code::Ok, said),
            Err(status) => return (status.code(), status.message().to_owned()),
        }
    }
}

#[test]
fn a_killed_query_ends_with_an_error_although_its_reader_stands_still() {
    let (server, _dir) = server();
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        filled(&mut client).await;
        let answer = client.query(select("SELECT * FROM m")).await.unwrap();
        // Nobody reads its answer.
        let text = || server.get("/query?q=SHOW+QUERIES").text();
        let is_listed = (0..10_000).any(|_| text().contains("FROM m"));
        assert!(is_listed, "it begins: {}", text());
        // It stands still before its reader meanwhile.
        assert!((0..300).all(|_| text().contains("FROM m")), "{}", text());
        let text_now = text();
        let (before, _) = text_now
            .split_once(",\"SELECT")
            .expect("its text is listed");
        let (_, id) = before
            .rsplit_once('[')
            .expect("its row begins with its number");
        let path = format!("/query?q=KILL+QUERY+{id}");
        let kill = Request::new("POST", &path);
        assert_eq!(server.send(&kill).status, 200);
        let is_gone = (0..10_000).any(|_| !text().contains("FROM m"));
        assert!(is_gone, "it is listed: {}", text());
        let (code, said) = end(answer.into_inner()).await;
        assert_eq!(
            (code, said.as_str()),
            (Code::Cancelled, "query interrupted")
        );
    });
}

#[test]
fn a_refused_write_makes_no_database() {
    let (server, _dir) = server();
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        let mut wrong = lines("m f=1 1");
        wrong.policy = "nope".to_owned();
        let status = client.write(wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
        assert_eq!(status.message(), "retention policy not found: nope");
        let mut wrong = lines("m f=1 1");
        wrong.durability = 99;
        let status = client.write(wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let databases = server.get("/query?q=SHOW+DATABASES").text();
        assert!(!databases.contains("\"g\""), "{databases}");
        let mut right = lines("m f=1 1");
        right.policy = "autogen".to_owned();
        client.write(right).await.unwrap();
    });
}

#[test]
fn a_query_is_stopped_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--query-timeout-ms", "1", "--auto-create", "always"];
    let server = Server::at(dir.path(), &flags);
    block_on(async {
        let mut client = SilverbackClient::new(connect(&server).await);
        client.write(lines("m f=1 1")).await.unwrap();
        // Four million windows take longer than a millisecond, however fast the machine.
        let long = "SELECT mean(f) FROM m WHERE time >= 0 AND time < 3900000s GROUP BY time(1s)";
        let answer = client.query(select(long)).await.unwrap().into_inner();
        let (code, said) = end(answer).await;
        assert_eq!(code, Code::Ok, "the statement failed, not the call");
        assert!(said.contains("query-timeout limit exceeded"), "{said}");
    });
}
