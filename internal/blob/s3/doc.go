// Package s3 keeps blobs in Amazon S3 or anything that speaks its API.
//
//	<prefix>/blobs/<domain>/<id>             the copy; for a small blob from its first round on
//	<prefix>/uploads/<domain>/<id>/<round>   the end of a stage that is too short for a part
//
// # Guarantees
//
//   - Bytes go straight to the key where they will stay. A blob of one round and up to 5 MiB costs one write in all, a
//     larger one a multipart upload. Nothing is copied within S3, but for the rare stage that goes on after OpenStaged.
//   - No request lists keys. What the store must remember of a stage is in its State; only the audits list.
//   - What an earlier State needs stays until a later one has come back to Append, Commit or Discard: a round that
//     crashes, or whose owner could not note it, takes no acknowledged byte with it.
//   - What is at a copy's key is only taken for the stage that is asked for when it carries that stage's mark: its
//     length alone proves nothing. Where a mark cannot decide, Commit says ErrNotFound rather than guess.
//   - Every write carries a CRC-32C, so that S3 refuses what arrives broken, and reads that are shorter than they
//     should be are errors.
//   - A stage open for writing takes memory for what it has of the next part, in steps of 256 KiB, and for one part on
//     its way, never more. Buffers beyond 1 MiB take turns, as long as the turns come quickly.
//
// # What the owner must know
//
// S3 offers no way to rename. A small stage that was never committed therefore looks exactly like its copy, and
// [Store.Discard] leaves it alone lest it remove bytes that somebody committed meanwhile. The owner of the rows knows:
// when it ends a session whose bytes no row names, it deletes the copy of the stage's ID as well, or lets the audit
// find it. For the same reason [Store.List] calls such an object not staged, and an audit must look for its ID among
// the sessions too.
//
// Rounds of one stage that overlap do no harm to what was acknowledged. A Commit must not overlap with the Commit of
// another round of the same stage, whose bytes differ.
//
// Who calls S3 needs the rights s3:ListBucket (without it S3 answers 403 where an object is missing), GetObject,
// PutObject, DeleteObject, AbortMultipartUpload, ListMultipartUploadParts and ListBucketMultipartUploads, and those of
// the KMS key where one is used. The bucket must not keep versions that nobody expires.
package s3
