// Package sdk holds tests only: AWS's own client libraries, aws-sdk-go-v2 and boto3, against a running server.
//
// They prove, for every operation of the ECR service model, that
//
//   - a valid call is answered, and the answer holds to the model member by member: nothing is missing but what the test
//     names, nothing is in it that the model does not know, and every value keeps the constraints that the model has;
//   - a call that violates one constraint is refused with the modelled exception and ECR's exact sentence, one call for
//     each constraint that there is.
//
// Listings are walked page by page while items come and go, with the tokens that they give and with others. What boto3
// adds to the calls (paginators, waiters, classes of exceptions) is tried in testdata/ecr_by_boto3.py.
//
// An operation that is not offered yet stands in one list, and the test fails when the list says too much or too little.
//
// The model is that of package ecr. What a server answers is read from the wire, because an SDK leaves out what it does
// not know and cannot tell what is absent from what is empty.
package sdk
