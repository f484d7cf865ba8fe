// Checks objects of operators against schemas made from the operators' own types; one line for each that is wrong.
// Where the packages of requirements/crds are installed: node --input-type=module - FILE.json < k8s_crds.mjs
import fs from "node:fs";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";

const kinds = { ScaledObject, PodMonitor, PrometheusRule };
for (const value of JSON.parse(fs.readFileSync(process.argv[2], "utf8"))) {
  try {
    new kinds[value.kind](value).validate();
  } catch (error) {
    console.log(`${value.kind} ${value.metadata.name}: ${error.message}`);
  }
}
