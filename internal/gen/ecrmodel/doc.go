// Command ecrmodel keeps package ecr in step with the public service model of Amazon ECR.
//
// It works in two steps, so that the large upstream model is needed only when the model changes:
//
//	ecrmodel reduce -model service-2.json.gz -source "botocore 1.43.11" -overlay overlay.json -out ../../ecr/model.json
//	ecrmodel generate -model ../../ecr/model.json -out ../../ecr
//
// reduce keeps the facts of a model (operations, shapes, members, constraints, errors) and drops all documentation
// text; overlay.json adds operations that are newer than the model read. generate writes the Go source of package ecr.
// The output of both is a pure function of their input: running them again changes nothing.
package main
