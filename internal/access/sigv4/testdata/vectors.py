"""Writes botocore.json: requests signed by botocore, to be verified by the Go code.

Run with botocore 1.43 installed: python3 vectors.py > botocore.json
Keys and tokens are made up. The clock is frozen so that the output is stable.
"""
import base64, datetime, json, sys
import botocore, botocore.auth as auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


KEY = ("AKIABOTOCOREVECTORS0", "botocore/vector+secret/with/slashes+plus")
TOKEN = "FwoGZXIvYXdzEXAMPLE/token+with=signs=="
TARGET = "AmazonEC2ContainerRegistry_V20150921."
JSON = "application/x-amz-json-1.1"


def sign(name, signer, method, url, headers=None, body=b"", region="us-east-1", service="ecr", token=None, **kw):
    creds = Credentials(*KEY, token=token)
    request = AWSRequest(method=method, url=url, headers=headers or {}, data=body)
    signer(creds, service, region, **kw).add_auth(request)
    prepared = request.prepare()
    return {
        "name": name,
        "method": method,
        "url": prepared.url,
        "headers": {k: v.decode() if isinstance(v, bytes) else v for k, v in prepared.headers.items()},
        "body": base64.b64encode(body).decode(),
        "token": token or "",
        "region": region,
        "service": service,
    }


def main():
    auth.get_current_datetime = lambda remove_tzinfo=True: NOW
    ecr, sts = "https://127.0.0.1:5050/", "https://sts.example.com/"
    v4, query, s3, s3query = auth.SigV4Auth, auth.SigV4QueryAuth, auth.S3SigV4Auth, auth.S3SigV4QueryAuth
    form = "application/x-www-form-urlencoded; charset=utf-8"
    vectors = [
        sign("ecr describe repositories", v4, "POST", ecr,
             {"Content-Type": JSON, "X-Amz-Target": TARGET + "DescribeRepositories"}, b"{}"),
        sign("ecr utf-8 body", v4, "POST", ecr,
             {"Content-Type": JSON, "X-Amz-Target": TARGET + "TagResource"}, '{"tags":[{"Key":"tên","Value":"đỏ"}]}'.encode()),
        sign("ecr session token, region with digits", v4, "POST", ecr,
             {"Content-Type": JSON, "X-Amz-Target": TARGET + "PutImage"}, b'{"imageManifest":"x"}', region="ap-southeast-1", token=TOKEN),
        sign("ecr header blanks", v4, "POST", ecr,
             {"Content-Type": JSON, "X-Custom": "a   b    c", "X-Amz-Target": TARGET + "ListImages"}, b"{}"),
        sign("sts form post", v4, "POST", sts, {"Content-Type": form},
             b"Action=GetCallerIdentity&Version=2011-06-15", service="sts"),
        sign("sts get with query", v4, "GET", sts + "?Version=2011-06-15&Action=GetCallerIdentity", service="sts"),
        sign("iam form post", v4, "POST", "https://iam.example.com/", {"Content-Type": form},
             b"Action=GetUser&Version=2010-05-08", service="iam"),
        sign("path with blanks and escapes", v4, "GET", "https://h.example.com/a%20b/%C3%A9/c%2Bd/~x", region="eu-central-1"),
        sign("path with dot segments", v4, "GET", "https://h.example.com/a/./b/../c//d/"),
        sign("query with escapes", v4, "GET", "https://h.example.com/p?b=%2F%3D&a=x%20y&a=w&empty=&flag="),
        sign("port 80 is part of no host header", v4, "GET", "http://h.example.com:80/"),
        sign("sts presigned get", query, "GET", sts + "?Action=GetCallerIdentity&Version=2011-06-15", service="sts", expires=60),
        sign("sts presigned get with token and header", query, "GET", sts + "?Action=GetCallerIdentity&Version=2011-06-15",
             {"x-k8s-aws-id": "cluster"}, service="sts", expires=900, token=TOKEN),
        sign("s3 get", s3, "GET", "https://b.s3.example.com/key%20with/./dots%2Band/plus%2B", service="s3"),
        sign("s3 put", s3, "PUT", "https://b.s3.example.com/k?partNumber=1&uploadId=a%2Fb", {"Content-Type": "x/y"}, b"part", service="s3"),
        sign("s3 presigned get", s3query, "GET", "https://b.s3.example.com/a%20b/c", service="s3", expires=604800),
    ]
    out = {"generator": "botocore " + botocore.__version__, "now": NOW.isoformat() + "Z",
           "access_key_id": KEY[0], "secret_access_key": KEY[1], "vectors": vectors}
    json.dump(out, sys.stdout, indent=1, ensure_ascii=False, sort_keys=True)
    print()


main()
