//! An S3 server for tests: `retro-test-s3 FOLDER ACCESS_KEY SECRET_KEY` serves the buckets in a folder, and prints its address. With `careless`
//! after that it passes over the conditions of writes, as some servers do.
//!
//! s3s-fs looks whether an object is there and then writes it, and its lists have no ETags. Here one conditional write at a time goes through,
//! so that of two with `If-None-Match: *` one gets 412, as in S3; and lists have the ETags of all objects that were written since the start.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

struct Store {
    files: FileSystem,
    careless: bool,
    conditional: tokio::sync::Mutex<()>,
    /// By bucket and key.
    e_tags: Mutex<HashMap<(String, String), ETag>>,
}

impl Store {
    fn note(&self, bucket: String, key: String, e_tag: Option<&ETag>) {
        if let Some(e_tag) = e_tag {
            self.e_tags.lock().unwrap_or_else(PoisonError::into_inner).insert((bucket, key), e_tag.clone());
        }
    }
}

/// The trait for [`Store`]: methods that the files answer alone, and then its own.
macro_rules! store {
    ([$($name:ident($input:ident) -> $output:ident),* $(,)?] $($own:item)*) => {
        #[async_trait::async_trait]
        impl S3 for Store {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.files.$name(request).await
            })*
            $($own)*
        }
    };
}

store! {
    [
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput,
        create_bucket(CreateBucketInput) -> CreateBucketOutput,
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput,
        delete_object(DeleteObjectInput) -> DeleteObjectOutput,
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput,
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput,
        get_object(GetObjectInput) -> GetObjectOutput,
        head_bucket(HeadBucketInput) -> HeadBucketOutput,
        head_object(HeadObjectInput) -> HeadObjectOutput,
        list_buckets(ListBucketsInput) -> ListBucketsOutput,
        upload_part(UploadPartInput) -> UploadPartOutput,
    ]

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if self.careless {
            (request.input.if_none_match, request.input.if_match) = (None, None);
        }
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let conditional = request.input.if_none_match.is_some() || request.input.if_match.is_some();
        let _turn = if conditional { Some(self.conditional.lock().await) } else { None };
        let response = self.files.put_object(request).await?;
        self.note(bucket, key, response.output.e_tag.as_ref());
        Ok(response)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let conditional = request.input.if_none_match.is_some() || request.input.if_match.is_some();
        let _turn = if conditional { Some(self.conditional.lock().await) } else { None };
        self.files.complete_multipart_upload(request).await.inspect(|response| self.note(bucket, key, response.output.e_tag.as_ref()))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = request.input.bucket.clone();
        let mut response = self.files.list_objects_v2(request).await?;
        let e_tags = self.e_tags.lock().unwrap_or_else(PoisonError::into_inner);
        for object in response.output.contents.iter_mut().flatten() {
            let Some(key) = &object.key else { continue };
            object.e_tag = e_tags.get(&(bucket.clone(), key.clone())).cloned();
        }
        Ok(response)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, access, secret, careless) = match arguments.as_slice() {
        [folder, access, secret] => (folder, access, secret, false),
        [folder, access, secret, careless] if careless == "careless" => (folder, access, secret, true),
        _ => panic!("retro-test-s3 FOLDER ACCESS_KEY SECRET_KEY [careless]"),
    };
    let files = FileSystem::new(Path::new(folder)).expect("the folder can be read");
    let mut builder = S3ServiceBuilder::new(Store { files, careless, conditional: Default::default(), e_tags: Default::default() });
    builder.set_auth(SimpleAuth::from_single(access.as_str(), secret.as_str()));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("retro-test-s3 listening on http://{}", listener.local_addr().expect("it is bound"));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = service.clone();
        tokio::spawn(async move {
            // What a client breaks off is its own affair.
            drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
