{{- define "whereabouts.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "whereabouts.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "whereabouts.serviceAccount" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create=false needs serviceAccount.name: the accounts of agents (that) and controller (that-controller)" -}}
{{- end -}}
{{- default (include "whereabouts.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "whereabouts.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "whereabouts.image" -}}
image: "{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- /* What an agent and an installer know of their node. */ -}}
{{- define "whereabouts.nodeEnvironment" -}}
- name: NODENAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: WHEREABOUTS_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end -}}

{{- /* The containers that put files on the host. Some distributions give these directories to a user of
their own. */ -}}
{{- define "whereabouts.installer" -}}
env:
  {{- include "whereabouts.nodeEnvironment" . | nindent 2 }}
{{- if or (ne .Values.cniConf.confDir "/etc/cni/net.d") (ne .Values.cniConf.binDir "/opt/cni/bin") }}
  - name: CNI_CONF_DIR
    value: /host{{ .Values.cniConf.confDir }}
  - name: CNI_BIN_DIR
    value: /host{{ .Values.cniConf.binDir }}
{{- end }}
resources:
  {{- toYaml .Values.install.resources | nindent 2 }}
securityContext:
  {{- if .Values.securityContext }}
  {{- toYaml .Values.securityContext | nindent 2 }}
  {{- else }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add: [DAC_OVERRIDE]
  {{- end }}
volumeMounts:
  - name: cnibin
    mountPath: /host{{ .Values.cniConf.binDir }}
  - name: cni-net-dir
    mountPath: /host{{ .Values.cniConf.confDir }}
  - name: settings
    mountPath: /settings
    readOnly: true
{{- end -}}

{{- /* Where the agent's probes go: to the loopback, unless it listens on the node's address. */ -}}
{{- define "whereabouts.probeHost" -}}
{{- if not .Values.metrics.enabled -}}
host: 127.0.0.1
{{- end -}}
{{- end -}}
